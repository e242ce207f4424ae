package redact

import (
	"slices"
	"strings"
	"time"
)

// maxDigits is how many digits a number has at most that is looked for.
const maxDigits = 19

// maxGap is how many bytes may stand between two groups of digits of one number.
const maxGap = 3

// group is a range of digits.
type group struct{ start, end int }

func (g group) size() int { return g.end - g.start }

// number is one or more groups that may be one number together.
type number struct {
	text   string // that it stands in, folded
	groups []group
	digits string // of all groups
}

func (n number) start() int { return n.groups[0].start }
func (n number) end() int   { return n.groups[len(n.groups)-1].end }

// sizes of the groups.
func (n number) sizes() []int {
	sizes := make([]int, len(n.groups))
	for i, g := range n.groups {
		sizes[i] = g.size()
	}
	return sizes
}

// numbers finds in a text all groups of digits, one after another, that is accepts. It
// returns the end of what it has accepted, which may include a sign behind the digits, and
// where it begins.
func numbers(t *text, is func(number) (start, end int, ok bool)) (found []span) {
	groups := digitGroups(t.folded)
	for i := range groups {
		n := number{text: t.folded}
		var digits []byte
		for j := i; j < len(groups) && (j == i || joined(t.folded[groups[j-1].end:groups[j].start])); j++ {
			digits = append(digits, t.folded[groups[j].start:groups[j].end]...)
			if len(digits) > maxDigits {
				break
			}
			n.groups, n.digits = groups[i:j+1], string(digits)
			if start, end, ok := is(n); ok && !hexadecimal(t.folded, start, end) {
				found = append(found, t.span(start, end))
			}
		}
	}
	return found
}

func digitGroups(text string) (groups []group) {
	for at := 0; at < len(text); at++ {
		if !isDigit(text[at]) {
			continue
		}
		start := at
		for at < len(text) && isDigit(text[at]) {
			at++
		}
		groups = append(groups, group{start, at})
	}
	return groups
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// joined reports whether what stands between two groups may stand within a number.
func joined(gap string) bool {
	return len(gap) <= maxGap && strings.Trim(gap, " \t-.()") == ""
}

// hexadecimal reports whether a number is but a piece of a long hexadecimal id.
func hexadecimal(text string, start, end int) bool {
	const least = 24
	for start > 0 && isHex(text[start-1]) {
		start--
	}
	for end < len(text) && isHex(text[end]) {
		end++
	}
	return end-start >= least && strings.ContainsAny(text[start:end], "abcdefABCDEF")
}

func isHex(c byte) bool {
	return isDigit(c) || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

// phones finds numbers of mainland China: mobile ones, and others with their area code.
func phones(t *text) ([]span, error) {
	return numbers(t, func(n number) (int, int, bool) {
		start, end := n.start(), n.end()
		if (isMobile(n.digits) || isLandline(n.digits)) && plainlyGrouped(n.sizes()) {
			return start, end, true
		}
		for _, country := range []string{"0086", "86"} {
			local, ok := strings.CutPrefix(n.digits, country)
			if !ok || !isMobile(local) && !isLandline("0"+local) && !isLandline(local) {
				continue
			}
			if groups, ok := without(n.sizes(), len(country)); ok {
				return start - len(international(n.text[:start])), end, plainlyGrouped(groups)
			}
		}
		return 0, 0, false
	}), nil
}

// without takes the digits of a country's code from the sizes of groups.
func without(sizes []int, code int) ([]int, bool) {
	switch {
	case sizes[0] == code && len(sizes) > 1:
		return sizes[1:], true
	case sizes[0] > code:
		return append([]int{sizes[0] - code}, sizes[1:]...), true
	case len(sizes) > 1 && sizes[0]+sizes[1] == code: // 00 86
		return sizes[2:], len(sizes) > 2
	}
	return nil, false
}

// international is the sign in front of a country's code.
func international(before string) string {
	for _, sign := range []string{"(+", "+ ", "+", "("} {
		if strings.HasSuffix(before, sign) {
			return sign
		}
	}
	return ""
}

// plainlyGrouped reports whether groups are as people make them in phone numbers: of three
// digits at least, but for an area code; or of one each.
func plainlyGrouped(sizes []int) bool {
	if !slices.ContainsFunc(sizes, func(size int) bool { return size != 1 }) {
		return true
	}
	return sizes[0] >= 2 && !slices.ContainsFunc(sizes[1:], func(size int) bool { return size < 3 })
}

func isMobile(digits string) bool {
	return len(digits) == 11 && digits[0] == '1' && digits[1] >= '3'
}

// isLandline reports whether digits are an area code, with its 0, and a local number.
func isLandline(digits string) bool {
	if len(digits) < 11 || len(digits) > 12 || digits[0] != '0' {
		return false
	}
	local := digits[4:]
	switch digits[1] {
	case '1', '2':
		if digits[1] == '1' && digits[2] != '0' {
			return false
		}
		local = digits[3:]
	case '0':
		return false
	}
	return (len(local) == 8 || len(local) == 7 && digits[1] > '2') && local[0] >= '2' && local[0] <= '8'
}

// idCards finds the numbers of identity cards of mainland China. It follows GB 11643-1999,
// and the 15 digits that were in use before.
func idCards(t *text) ([]span, error) {
	return numbers(t, func(n number) (int, int, bool) {
		start, end := n.start(), n.end()
		if sizes := n.sizes(); len(sizes) > 1 && slices.Min(sizes[:len(sizes)-1]) < 2 {
			return 0, 0, false
		}
		switch len(n.digits) {
		case 15:
			year := "19" + n.digits[6:8]
			return start, end, hasRegion(n.digits) && isDate(year+n.digits[8:12])
		case 17:
			if end < len(n.text) && (n.text[end] == 'X' || n.text[end] == 'x') {
				return start, end + 1, isIDCard(n.digits + "X")
			}
		case 18:
			return start, end, isIDCard(n.digits)
		}
		return 0, 0, false
	}), nil
}

// isIDCard checks region, birthday and checksum, which is ISO 7064's MOD 11-2.
func isIDCard(id string) bool {
	sum := 0
	for i, weight := range []int{7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2} {
		sum += int(id[i]-'0') * weight
	}
	return hasRegion(id) && isDate(id[6:14]) && "10X98765432"[sum%11] == id[17]
}

// hasRegion reports whether a number begins with the code of a province.
func hasRegion(digits string) bool {
	const provinces = " 11 12 13 14 15 21 22 23 31 32 33 34 35 36 37 41 42 43 44 45 46 50 51 52 53 54 61 62 63 64 65 71 81 82 83 91 "
	return strings.Contains(provinces, " "+digits[:2]+" ")
}

// isDate reports whether digits are a day since 1800.
func isDate(digits string) bool {
	day, err := time.Parse("20060102", digits)
	return err == nil && day.Year() >= 1800 && day.Year() < 2100
}

// bankCards finds the numbers of cards, of which the digits stand together or by four.
func bankCards(t *text) ([]span, error) {
	return numbers(t, func(n number) (int, int, bool) {
		if len(n.digits) < 13 || !hasIssuer(n.digits) || !luhn(n.digits) {
			return 0, 0, false
		}
		sizes := n.sizes()
		last := len(sizes) - 1
		if last > 0 && (sizes[last] > 4 || slices.ContainsFunc(sizes[:last], func(size int) bool { return size != 4 })) {
			return 0, 0, false
		}
		return n.start(), n.end(), true
	}), nil
}

// hasIssuer reports whether a number begins as cards do; the years of this century, with
// which numbers of orders begin, are none.
func hasIssuer(digits string) bool {
	switch digits[0] {
	case '3', '4', '5', '6', '9':
		return true
	case '2':
		return digits[:4] >= "2221" && digits[:4] <= "2720"
	case '8':
		return digits[1] == '1' || digits[1] == '2'
	}
	return false
}

// luhn checks a number as ISO/IEC 7812-1 says.
func luhn(digits string) bool {
	sum := 0
	for i := range digits {
		digit := int(digits[len(digits)-1-i] - '0')
		if i%2 == 1 {
			digit *= 2
		}
		sum += digit/10 + digit%10
	}
	return sum%10 == 0
}
