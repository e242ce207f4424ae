package xingchen

import (
	"encoding/json"
	"errors"
	"strconv"
	"unicode/utf8"
)

// decode reads a request body: keys in any case, as the services of the vendor do. A body that is no JSON object gives
// errUnreadable; a field of the wrong type errParam with its name.
func decode(body []byte, into any) error {
	err := json.Unmarshal(body, into)
	if err == nil {
		return nil
	}
	if wrongType, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && wrongType.Field != "" {
		return errParam.naming("%s has the wrong type", wrongType.Field)
	}
	return errUnreadable
}

// userOf finds the end user of a request wherever its endpoint names one; empty if it names none.
func userOf(c *call) string {
	if len(c.body) == 0 {
		return c.r.URL.Query().Get("userId")
	}
	var probe struct {
		Input struct {
			Aca struct {
				UserProfile struct {
					UserID string `json:"userId"`
				} `json:"userProfile"`
			} `json:"aca"`
		} `json:"input"`
		Where struct {
			BizUserID string `json:"bizUserId"`
		} `json:"where"`
		BizUserID string `json:"bizUserId"`
		UserID    string `json:"userId"`
	}
	// What cannot be read here is refused by the endpoint itself.
	_ = json.Unmarshal(c.body, &probe)
	for _, user := range []string{probe.Input.Aca.UserProfile.UserID, probe.Where.BizUserID, probe.BizUserID, probe.UserID} {
		if user != "" {
			return user
		}
	}
	return ""
}

// checkText refuses a text outside of its limits, counted in characters.
func checkText(field, value string, least, most int) error {
	count := utf8.RuneCountInString(value)
	if count < least {
		return errParam.naming("%s must not be empty", field)
	}
	if most > 0 && count > most {
		return errParam.naming("%s is longer than %d characters", field, most)
	}
	return nil
}

// page is pageNum and pageSize of a list, resolved: pages begin at 1, and 0 or nothing is the first.
type page struct{ number, size int }

const (
	defaultPageSize = 10
	maxPageSize     = 50
)

func pageOf(number, size *int) (page, error) {
	p := page{number: 1, size: defaultPageSize}
	if number != nil && *number != 0 {
		p.number = *number
	}
	if size != nil {
		p.size = *size
	}
	if p.number < 1 || p.number > 1<<31 {
		return p, errParam.naming("pageNum must not be negative or beyond %d", 1<<31)
	}
	if p.size < 1 || p.size > maxPageSize {
		return p, errParam.naming("pageSize must be between 1 and %d", maxPageSize)
	}
	return p, nil
}

func (p page) offset() int { return (p.number - 1) * p.size }

// list is a page of anything.
type list[T any] struct {
	List            []T `json:"list"`
	Page            int `json:"page"`
	PageSize        int `json:"pageSize"`
	Total           int `json:"total"`
	PageOffsetValue int `json:"pageOffsetValue"`
}

func listOf[T any](p page, rows []T, total int) list[T] {
	if rows == nil {
		rows = []T{}
	}
	return list[T]{List: rows, Page: p.number, PageSize: p.size, Total: total, PageOffsetValue: p.offset()}
}

// window cuts the rows of a page out of all.
func window[T any](p page, all []T) []T {
	from := min(p.offset(), len(all))
	return all[from:min(from+p.size, len(all))]
}

// optionalInt reads a number from a query or says which is wrong.
func optionalInt(field, text string) (int, error) {
	if text == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, errParam.naming("%s is not a number", field)
	}
	return n, nil
}
