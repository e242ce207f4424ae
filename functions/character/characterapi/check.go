package characterapi

import (
	"encoding/json"
	"math"
	"net/http"
	"strings"
)

// The checks hold what the documents limit, and nothing that they leave open: names that
// they do not mention pass, and so does what only an assumption forbids. They follow
// Xingchen HTTP API, character management.

// checkCreate is "create".
var checkCreate = inBody(append([]field{
	required("name", filled(20)), required("introduction", filled(30)),
	required("basicInformation", filled(0)), required("openingLine", filled(0)),
	optional("permConfig", permissions), optional("advancedConfig", newAdvanced),
}, profile...)...)

// checkUpdate is "update". Whether a field that is left out is kept is not documented, so
// none but the id is required here.
var checkUpdate = inBody(append([]field{
	required("characterId", filled(0)), optional("version", whole), optional("permConfig", permissions),
}, changes...)...)

// checkVersion is "createOrUpdateVersion".
var checkVersion = inBody(append([]field{
	required("characterId", filled(0)), required("version", whole),
}, changes...)...)

var changes = append([]field{
	optional("name", filled(20)), optional("introduction", filled(30)),
	optional("basicInformation", filled(0)), optional("openingLine", filled(0)),
	optional("advancedConfig", record(advanced...)),
}, profile...)

var profile = []field{
	optional("avatar", record(optional("fileUrl", address), optional("filename", text), optional("fileSavePath", text))),
	optional("traits", text), optional("chatExample", text), optional("chatObjective", text),
	optional("type", word("virtual", "reproduction")), optional("roleTypes", list(text)),
}

// permissions come all three or not at all.
var permissions = record(
	required("isPublic", between(0, 1)), required("allowApi", between(0, 1)), required("allowChat", between(0, 1)),
)

var advanced = []field{
	optional("isRealInfo", flag), optional("searchKeyword", text), optional("realInfo", text),
	optional("allowSendImage", flag), optional("imageStyle", text),
	optional("allowSendAsr", flag), optional("asrStyle", text),
	optional("isRealTime", flag), optional("shortTermMemoryRound", whole),
	optional("longTermMemories", list(record(
		optional("enabled", flag), optional("memoryType", word("kv", "summary")),
		optional("kvMemoryConfigs", list(record(optional("enabled", flag), optional("memoryText", text)))),
	))),
	optional("platformPlugins", list(plugin)), optional("knowledgeBases", list(text)),
	optional("modelConfig", record(
		optional("maxLength", whole), optional("minLength", whole), optional("topP", number), optional("temperature", number),
	)),
	optional("chatDescription", text),
}

// newAdvanced is the advanced configuration of a new character: one that searches has to
// be told for what.
func newAdvanced(c *checker, path string, value any) {
	record(advanced...)(c, path, value)
	o, ok := value.(map[string]any)
	if !ok || o["isRealInfo"] != true {
		return
	}
	for _, name := range []string{"searchKeyword", "realInfo"} {
		if given := o[name]; given != nil && given != "" {
			return
		}
	}
	c.fault(path+".searchKeyword", "missing: isRealInfo searches for it")
}

// plugin is a plug-in with the fields that either of the two has.
var plugin = record(
	required("name", filled(0)), optional("enabled", flag),
	optional("imageStyle", text), optional("positiveDesc", text), optional("negativeDesc", text),
	optional("rejectConditions", list(rejection)),
)

// rejection says what a character does not answer. The condition below one of
// knowledge_domain_rule is of a kind whose words are not all known.
func rejection(c *checker, path string, value any) {
	record(
		required("conditionType", word("reject_rule", "passive_rule", domainRule)), optional("enabled", flag), optional("keywords", keywords),
		optional("subRejectCondition", record(required("conditionType", filled(0)), optional("enabled", flag), optional("keywords", keywords))),
	)(c, path, value)
	if o, ok := value.(map[string]any); ok && o["conditionType"] == domainRule && o["subRejectCondition"] == nil {
		c.fault(path+".subRejectCondition", "missing: a %s has one", domainRule)
	}
}

const domainRule = "knowledge_domain_rule"

var keywords = list(record(required("value", text)))

// checkSearch is "search".
var checkSearch = inBody(
	optional("where", record(
		optional("scope", word("my", "public", "pre_configured")), optional("roleTypes", list(text)), optional("characterName", text),
	)),
	optional("orderBy", list(order)), optional("pageNum", between(0, math.MaxInt32)), optional("pageSize", between(1, 50)),
)

// order is a field and a direction, which is descending if left out.
func order(c *checker, path string, value any) {
	s, ok := value.(string)
	if !ok {
		c.misfit(path, "a text", value)
		return
	}
	name, direction, _ := strings.Cut(strings.TrimSpace(s), " ")
	switch name {
	case "gmtModified", "gmtCreate", "modifiedTime", "createTime":
	default:
		c.fault(path, "orders by none of: gmtModified, gmtCreate, modifiedTime, createTime")
	}
	switch strings.ToLower(strings.TrimSpace(direction)) {
	case "", "asc", "desc":
	default:
		c.fault(path, "has a direction that is neither asc nor desc")
	}
}

// checkDetails is "details".
func checkDetails(c *checker, r *http.Request, _ any) { checkQuery(c, r) }

// checkDelete is "delete", whose parameters stand in the body or, as the official client
// has it, in the query.
func checkDelete(c *checker, r *http.Request, body any) {
	fields := []field{optional("characterId", filled(0)), optional("version", whole)}
	if r.URL.Query().Get("characterId") == "" {
		fields[0].required = true
	} else {
		checkQuery(c, r)
	}
	if body == nil {
		body = map[string]any{}
	}
	record(fields...)(c, bodyPath, body)
}

func checkQuery(c *checker, r *http.Request) {
	query := r.URL.Query()
	if query.Get("characterId") == "" {
		c.fault("characterId", "missing in the query")
	}
	if version := query.Get("version"); version != "" {
		whole(c, "version", json.Number(version))
	}
}

// inBody checks the fields of a body.
func inBody(fields ...field) check {
	body := record(fields...)
	return func(c *checker, _ *http.Request, document any) { body(c, bodyPath, document) }
}
