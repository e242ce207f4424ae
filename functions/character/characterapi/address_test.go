package characterapi_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

func TestAvatarAddresses(t *testing.T) {
	t.Parallel()
	create := fixture(t, "xingchen-character-create-request.json")
	allowed := []string{
		"", "https://gw.alicdn.com/a.jpg", "http://img.example:8080/关云长.jpg?x=1", "https://xn--fsqu00a.example/", "http://8.8.8.8/a.png", "https://[2606:4700::1111]/a",
		"HTTPS://IMG.EXAMPLE/A", "http://127.0.0.1.nip.example/", "https://cafe.example/", "http://exempt.internal:9000/", "http://10.9.9.9:9000/a",
	}
	refused := []string{
		"ftp://h.example/", "file:///etc/passwd", "data:image/png;base64,AA", "gopher://h.example", "//h.example/a", "h.example/a", "https://", "https:/h.example", "http://:80/", "javascript:alert(1)",
		"https://user@h.example/", "https://user:pw@h.example/", "https://:pw@h.example/", "http://h.example@127.0.0.1/", `http://h.example\@127.0.0.1/`, `http:\\127.0.0.1\`,
		"http://localhost/", "http://LOCALHOST:8080/", "http://localhost./", "http://a.localhost/", "http://intranet/", "http://printer.local/", "http://metadata.google.internal/", "http://nas.lan/", "http://a.home.arpa",
		"http://127.0.0.1/", "http://127.0.0.1:8080/", "http://127.1/", "http://127.0.0.1./", "http://2130706433/", "http://0x7f000001/", "http://0x7f.1/", "http://0177.0.0.1/", "http://017700000001/", "http://127.0.0.01/", "http://0/", "http://0.0.0.0/",
		"http://10.0.0.1/", "http://10.9.9.9/", "http://172.16.0.1/", "http://192.168.1.1/", "http://169.254.169.254/latest/meta-data/", "http://100.100.100.200/", "http://255.255.255.255/", "http://224.0.0.1/", "http://198.18.0.1/",
		"http://[::1]/", "http://[::]/", "http://[::ffff:127.0.0.1]/", "http://[::ffff:7f00:1]/", "http://[::127.0.0.1]/", "http://[64:ff9b::7f00:1]/", "http://[2002:7f00:1::]/", "http://[fe80::1]/", "http://[fe80::1%25eth0]/", "http://[fd00::1]/", "http://[fec0::1]/", "http://[ff02::1]/",
		"http://１２７.0.0.1/", "http://①②⑦.⓪.⓪.①/", "http://127。0。0。1/", "http://%31%32%37.0.0.1/", "http://ⓛocalhost/", "http://h.example:0/", "http://h.example:99999/", "http://exempt.internal/", "http://a..b.example/", "http://.example/", "http:// h.example/", "http://h.example\n.evil/",
	}
	check := func(address string) (ok bool, told string) {
		b := setup(t, "exempt.internal:9000", "10.9.9.9:9000")
		text, err := json.Marshal(address)
		if err != nil {
			t.Fatal(err)
		}
		w := b.do("POST", "/v2/api/character/create", with(t, create, "avatar.fileUrl", string(text)))
		return w.Code == http.StatusOK, w.Body.String()
	}
	for _, address := range allowed {
		if ok, told := check(address); !ok {
			t.Errorf("%q is refused: %s", address, told)
		}
	}
	for _, address := range refused {
		if ok, told := check(address); ok || !strings.Contains(told, "avatar.fileUrl: is ") {
			t.Errorf("%q: %s", address, told)
		}
	}
}
