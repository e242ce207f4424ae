package queue

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/nats-io/nats.go"
)

// natsContext is what the nats command line keeps of a server under a name. Of its fields
// those are read that say how to connect.
type natsContext struct {
	URL         string `json:"url"`
	Token       string `json:"token"`
	User        string `json:"user"`
	Password    string `json:"password"`
	Creds       string `json:"creds"`
	NKey        string `json:"nkey"`
	Cert        string `json:"cert"`
	Key         string `json:"key"`
	CA          string `json:"ca"`
	InboxPrefix string `json:"inbox_prefix"`
	TLSFirst    bool   `json:"tls_first"`

	// These would lead elsewhere if they were passed over.
	Domain    string `json:"jetstream_domain"`
	APIPrefix string `json:"jetstream_api_prefix"`
	Proxy     string `json:"socks_proxy"`
	NSC       string `json:"nsc"`
	UserJWT   string `json:"user_jwt"`
}

// contextPath is where a context lies: name is a path, or what `nats context ls` shows of
// it. configHome is the user's folder for configuration.
func contextPath(name, configHome string) string {
	if strings.ContainsRune(name, filepath.Separator) || strings.HasSuffix(name, ".json") {
		return name
	}
	return filepath.Join(configHome, "nats", "context", name+".json")
}

func readContext(path, home string) (c natsContext, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return c, err
	}
	if err := json.Unmarshal(text, &c); err != nil {
		return c, fmt.Errorf("%s: %w", path, err)
	}
	for field, value := range map[string]string{
		"jetstream_domain": c.Domain, "jetstream_api_prefix": c.APIPrefix, "socks_proxy": c.Proxy, "nsc": c.NSC, "user_jwt": c.UserJWT,
	} {
		if value != "" {
			return c, fmt.Errorf("%s: %s is set, which is not supported", path, field)
		}
	}
	for field, file := range map[string]*string{"creds": &c.Creds, "nkey": &c.NKey, "cert": &c.Cert, "key": &c.Key, "ca": &c.CA} {
		if strings.Contains(*file, "://") {
			return c, fmt.Errorf("%s: %s is no path of a file, which is all that is supported", path, field)
		}
		if rest, ok := strings.CutPrefix(*file, "~/"); ok {
			*file = filepath.Join(home, rest)
		}
		if *file == "" {
			continue
		}
		if _, err := os.Stat(*file); err != nil {
			return c, fmt.Errorf("%s: %s: %w", path, field, err)
		}
	}
	if (c.Cert == "") != (c.Key == "") {
		return c, fmt.Errorf("%s: %w", path, errors.New("cert and key go together"))
	}
	return c, nil
}

// options are those of the connection, address and credentials file aside.
func (c natsContext) options() (opts []nats.Option, err error) {
	switch {
	case c.Token != "":
		opts = append(opts, nats.Token(c.Token))
	case c.User != "":
		opts = append(opts, nats.UserInfo(c.User, c.Password))
	}
	if c.NKey != "" {
		option, err := nats.NkeyOptionFromSeed(c.NKey)
		if err != nil {
			return nil, fmt.Errorf("nkey: %w", err)
		}
		opts = append(opts, option)
	}
	if c.Cert != "" {
		opts = append(opts, nats.ClientCert(c.Cert, c.Key))
	}
	if c.CA != "" {
		opts = append(opts, nats.RootCAs(c.CA))
	}
	if c.InboxPrefix != "" {
		opts = append(opts, nats.CustomInboxPrefix(c.InboxPrefix))
	}
	if c.TLSFirst {
		opts = append(opts, nats.TLSHandshakeFirst())
	}
	return opts, nil
}
