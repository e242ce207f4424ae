package chatapi

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"xinghe/shared/desk"
	"xinghe/shared/httpapi"
	"xinghe/shared/jobs"
	"xinghe/shared/relay"
	"xinghe/shared/xingchen"
)

// modelObject is a model as OpenAI's clients read it.
type modelObject struct {
	ID     string `json:"id"`
	Object string `json:"object"`
	// Created is in seconds; 0 where nobody knows.
	Created int64  `json:"created"`
	OwnedBy string `json:"owned_by"`
	// Name is that of a character.
	Name string `json:"name,omitempty"`
}

func newModel(to partner) modelObject {
	model := modelObject{ID: to.bot(), Object: "model", OwnedBy: "xingchen"}
	switch to.kind {
	case jobs.BotBeebot:
		model.OwnedBy = "beebot"
	case jobs.BotModel:
		model.ID = to.id
	}
	return model
}

func newCharacterModel(c xingchen.Character) modelObject {
	model := newModel(partner{kind: jobs.BotCharacter, id: c.CharacterID})
	model.Created, model.Name = int64(c.GmtCreate)/1000, c.Name
	return model
}

// isXingchenModel takes the names that are configured, and leaves those that look like one
// of Xingchen's to upstream.
func (o *openaiHandler) isXingchenModel(name string) bool {
	return strings.HasPrefix(name, "xingchen-") || slices.Contains(o.cfg.Models, name)
}

// models serves GET /v1/models: the characters of the account, then robots, then models.
func (o *openaiHandler) models(w http.ResponseWriter, r *http.Request) error {
	list := struct {
		Object string        `json:"object"`
		Data   []modelObject `json:"data"`
	}{"list", []modelObject{}}
	if o.owned != nil {
		owned, err := o.owned.list(r.Context())
		if err != nil {
			return err
		}
		list.Data = append(list.Data, owned...)
	}
	if o.cfg.Beebot != nil {
		for _, robot := range o.cfg.Robots {
			list.Data = append(list.Data, newModel(partner{kind: jobs.BotBeebot, id: robot.ID}))
		}
	}
	if o.cfg.Xingchen != nil {
		for _, name := range o.cfg.Models {
			list.Data = append(list.Data, newModel(partner{kind: jobs.BotModel, id: name}))
		}
	}
	return httpapi.WriteJSON(w, http.StatusOK, list)
}

// model serves GET /v1/models/{model}: whoever may be talked to, listed or not.
func (o *openaiHandler) model(w http.ResponseWriter, r *http.Request) error {
	to, err := o.partner(r.PathValue("model"))
	if err != nil {
		return err
	}
	if to.kind != jobs.BotCharacter {
		return httpapi.WriteJSON(w, http.StatusOK, newModel(to))
	}
	if err := o.x.desk.Spend(r.Context()); err != nil {
		return err
	}
	character, err := o.cfg.Xingchen.CharacterDetails(r.Context(), xingchen.CharacterRef{CharacterID: to.id}, xingchen.WithRequestID(httpapi.CallFrom(r.Context()).ID))
	if err != nil {
		err = relay.Refusal(r.Context(), err)
		o.x.desk.Heed(err)
		return missing(err, r.PathValue("model"))
	}
	character.CharacterID = to.id
	return httpapi.WriteJSON(w, http.StatusOK, newCharacterModel(character))
}

const (
	// ownedFresh is how long a list of characters is good.
	ownedFresh = 30 * time.Second
	// ownedPage is the largest page that upstream gives.
	ownedPage = 50
	// ownedPages bounds what one list costs.
	ownedPages = 200
)

// characterList lists the characters of the account, and keeps the list for a while.
type characterList struct {
	client *xingchen.Client
	desk   desk.Desk
	busy   chan struct{} // holds one while somebody uses what follows

	models []modelObject
	until  time.Time
}

func newCharacterList(client *xingchen.Client, d desk.Desk) *characterList {
	return &characterList{client: client, desk: d, busy: make(chan struct{}, 1)}
}

// list returns the characters, the last modified first. Of those who ask while there is no
// good list, one asks upstream and the others wait.
func (l *characterList) list(ctx context.Context) ([]modelObject, error) {
	select {
	case l.busy <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-l.busy }()
	now := l.desk.Now()
	if now.Before(l.until) {
		return l.models, nil
	}
	models, err := l.fetch(ctx)
	if err != nil {
		return nil, err
	}
	l.models, l.until = models, now.Add(ownedFresh)
	return models, nil
}

// fetch reads all pages. A character that moves to another page meanwhile is listed once.
func (l *characterList) fetch(ctx context.Context) ([]modelObject, error) {
	var models []modelObject
	seen := map[string]bool{}
	query := xingchen.CharacterQuery{OrderBy: []string{"gmtModified desc"}, PageSize: ownedPage}
	query.Where.Scope = "my"
	for query.PageNum = 1; query.PageNum <= ownedPages; query.PageNum++ {
		if err := l.desk.Spend(ctx); err != nil {
			return nil, err
		}
		page, err := l.client.SearchCharacters(ctx, query, xingchen.WithRequestID(httpapi.CallFrom(ctx).ID))
		if err != nil {
			err = relay.Refusal(ctx, err)
			l.desk.Heed(err)
			return nil, err
		}
		for _, character := range page.List {
			if !seen[character.CharacterID] {
				models = append(models, newCharacterModel(character))
			}
			seen[character.CharacterID] = true
		}
		if len(page.List) < ownedPage {
			break
		}
	}
	return models, nil
}
