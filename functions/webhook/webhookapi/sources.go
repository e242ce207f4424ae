package webhookapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"xinghe/shared/httpapi"
	"xinghe/shared/sign"
)

// Source is a business system, how its messages are proven, and what
// becomes of them.
type Source struct {
	// Name of the source, the end of its address.
	Name string

	verifier verifier
	when     []condition
	action   string
	fields   map[string]value
	act      action // set by New
}

// sourceEntry is a source as it is written down.
type sourceEntry struct {
	Name     string                     `json:"name"`
	Standard *standardEntry             `json:"standard"`
	HMAC     *hmacEntry                 `json:"hmac"`
	When     map[string]json.RawMessage `json:"when"`
	Action   string                     `json:"action"`
	Fields   map[string]json.RawMessage `json:"fields"`
}

var sourceName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,63}$`)

// ParseSources reads a JSON list of sources, as docs/inbound-webhooks.md describes it. A
// secret "env:NAME" is what lookup finds by the name. The error tells every fault that can be
// told without knowing the actions, with its source and field, and no secret.
func ParseSources(text sign.Secret, lookup func(name string) sign.Secret) ([]*Source, error) {
	var entries []json.RawMessage
	if err := httpapi.DecodeStrict([]byte(text.Reveal()), &entries); err != nil {
		return nil, fmt.Errorf("not a JSON list of sources: %w", plain(err))
	}
	if len(entries) == 0 {
		return nil, errors.New("no sources: nobody could send")
	}
	var sources []*Source
	var faults []error
	for i, entry := range entries {
		source, errs := parseSource(entry, lookup)
		where := fmt.Sprintf("source %d", i+1)
		if source.Name != "" {
			where = fmt.Sprintf("source %q", source.Name)
		}
		if slices.ContainsFunc(sources, func(other *Source) bool { return other.Name == source.Name }) {
			errs = append(errs, errors.New("name: stands twice in the list"))
		}
		for _, err := range errs {
			faults = append(faults, fmt.Errorf("%s: %w", where, err))
		}
		sources = append(sources, source)
	}
	return sources, errors.Join(faults...)
}

// plain is a refusal's own words, without its code.
func plain(err error) error {
	refusal := httpapi.AsError(err)
	if len(refusal.Fields) == 0 {
		return errors.New(refusal.Detail)
	}
	var parts []string
	for _, fault := range refusal.Fields {
		parts = append(parts, fault.Field+": "+fault.Message)
	}
	return errors.New(strings.Join(parts, "; "))
}

func parseSource(text json.RawMessage, lookup func(name string) sign.Secret) (*Source, []error) {
	var entry sourceEntry
	if err := httpapi.DecodeStrict(text, &entry); err != nil {
		return &Source{Name: nameIn(text)}, []error{plain(err)}
	}
	source := &Source{Name: entry.Name, action: entry.Action, fields: map[string]value{}}
	var faults []error
	fault := func(field string, err error) {
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", field, err))
		}
	}
	if !sourceName.MatchString(entry.Name) {
		fault("name", errors.New("want up to 64 of a-z, 0-9, - and _, a letter or digit first"))
	}
	var err error
	switch {
	case entry.Standard != nil && entry.HMAC != nil:
		fault("hmac", errors.New("stands beside standard; use one"))
	case entry.Standard != nil:
		if err = reveal(entry.Standard.Secrets, lookup); err == nil {
			source.verifier, err = entry.Standard.parse()
		}
		fault("standard", err)
	case entry.HMAC != nil:
		if err = reveal(entry.HMAC.Secrets, lookup); err == nil {
			source.verifier, err = entry.HMAC.parse()
		}
		fault("hmac", err)
	default:
		fault("standard", errors.New("missing; or give hmac"))
	}
	for _, pointer := range slices.Sorted(maps.Keys(entry.When)) {
		condition, err := parseCondition(pointer, entry.When[pointer])
		fault("when."+pointer, err)
		source.when = append(source.when, condition)
	}
	for _, name := range slices.Sorted(maps.Keys(entry.Fields)) {
		source.fields[name], err = parseValue(entry.Fields[name])
		fault("fields."+name, err)
	}
	return source, faults
}

// reveal puts the secrets in place that are named only.
func reveal(secrets []sign.Secret, lookup func(name string) sign.Secret) error {
	for i, secret := range secrets {
		name, named := strings.CutPrefix(secret.Reveal(), "env:")
		if !named {
			continue
		}
		if secrets[i] = lookup(name); secrets[i].IsZero() {
			return fmt.Errorf("secrets: secret %d of %d: the variable %s is not set", i+1, len(secrets), name)
		}
	}
	return nil
}

// nameIn is the name of a source that cannot be read otherwise.
func nameIn(text json.RawMessage) string {
	var named struct {
		Name string `json:"name"`
	}
	if json.Unmarshal(text, &named) != nil {
		return ""
	}
	return named.Name
}

// bind gives a source its action, and checks what of the fields is known before any message
// has come: their names, all that is constant, and that nothing is missing.
func (a *API) bind(source *Source) error {
	source.act = a.actions[source.action]
	if source.act == nil {
		return fmt.Errorf("source %q: action: %q is none of %s", source.Name, source.action, strings.Join(slices.Sorted(maps.Keys(a.actions)), ", "))
	}
	if err := source.act.lacks(); err != nil {
		return fmt.Errorf("source %q: action: %s %w", source.Name, source.action, err)
	}
	a.sources[source.Name] = source
	constants := map[string]json.RawMessage{}
	var faults []error
	for _, name := range slices.Sorted(maps.Keys(source.fields)) {
		constant := source.fields[name].constant
		if constant == nil {
			faults = append(faults, source.unknown(name))
			continue
		}
		constants[name] = constant
	}
	body, err := json.Marshal(constants)
	if err != nil {
		return fmt.Errorf("source %q: fields: %w", source.Name, err)
	}
	for _, fault := range faultsOf(source.act.check(body)) {
		root, _, _ := strings.Cut(strings.ReplaceAll(fault.Field, "[", "."), ".")
		_, given := source.fields[root]
		_, constant := constants[root]
		// Other faults follow from what only a message will tell.
		if constant || !given && strings.HasPrefix(fault.Message, "missing") {
			faults = append(faults, fmt.Errorf("source %q: fields.%s: %s", source.Name, fault.Field, fault.Message))
		}
	}
	return errors.Join(faults...)
}

// unknown says whether the action has no field of the name.
func (s *Source) unknown(name string) error {
	body, err := json.Marshal(map[string]any{name: nil})
	if err != nil {
		return err
	}
	for _, fault := range faultsOf(s.act.check(body)) {
		if fault.Field == name && strings.HasSuffix(fault.Message, "not a known field") {
			return fmt.Errorf("source %q: fields.%s: %s", s.Name, name, fault.Message)
		}
	}
	return nil
}

func faultsOf(err error) []httpapi.FieldError {
	if err == nil {
		return nil
	}
	refusal := httpapi.AsError(err)
	if len(refusal.Fields) == 0 {
		return []httpapi.FieldError{{Field: "body", Message: refusal.Detail}}
	}
	return refusal.Fields
}

// resolve fills the fields of a source's action from a message.
func (s *Source) resolve(document any) ([]byte, error) {
	fields := make(map[string]json.RawMessage, len(s.fields))
	var faults []httpapi.FieldError
	for _, name := range slices.Sorted(maps.Keys(s.fields)) {
		text, err := s.fields[name].of(document)
		if err != nil {
			faults = append(faults, httpapi.FieldError{Field: name, Message: err.Error()})
		}
		fields[name] = text
	}
	if err := httpapi.Invalid(faults...); err != nil {
		return nil, err
	}
	return json.Marshal(fields)
}

// wants reports whether a message meets the source's conditions.
func (s *Source) wants(document any) bool {
	return !slices.ContainsFunc(s.when, func(c condition) bool { return !c.holds(document) })
}

// decode reads a message's body: one JSON document, whose numbers stay as they are written.
func decode(body []byte) (json.RawMessage, any, error) {
	var raw json.RawMessage
	if err := httpapi.DecodeStrict(body, &raw); err != nil {
		return nil, nil, err
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var document any
	err := decoder.Decode(&document)
	return raw, document, err
}
