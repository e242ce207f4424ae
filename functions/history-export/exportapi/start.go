package exportapi

import (
	"net/http"

	"xinghe/shared/httpapi"
)

func (a *API) post(w http.ResponseWriter, r *http.Request) error {
	body, err := httpapi.ReadBody(r)
	if err != nil {
		return err
	}
	export, err := a.intake.Start(r.Context(), body)
	if err != nil {
		return err
	}
	w.Header().Set("Location", "/v1/exports/"+export.ID)
	return httpapi.WriteJSON(w, http.StatusAccepted, export)
}
