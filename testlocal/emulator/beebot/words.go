package beebot

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// commonWords are kept whole in the segmentation of an utterance, whatever the robot.
var commonWords = []string{
	"什么", "怎么", "怎么样", "为什么", "多少", "哪里", "哪个", "可以", "不可以", "能够", "如何", "请问", "你好", "您好", "谢谢", "谢谢你",
	"我们", "你们", "他们", "今天", "明天", "昨天", "现在", "时候", "时间", "问题", "回答", "帮助", "服务", "人工", "客服", "天气", "查询",
	"北京", "上海", "杭州", "广州", "知道", "告诉", "需要", "使用", "信息", "办理", "价格", "地址", "电话", "规定", "具体", "个人", "所得税",
}

const longestWord = 8 // code points

// dictionary segments text by the longest word from the left.
type dictionary map[string]bool

func newDictionary(words []string) dictionary {
	d := make(dictionary, len(commonWords)+len(words))
	for _, list := range [][]string{commonWords, words} {
		for _, word := range list {
			if n := utf8.RuneCountInString(word); n > 1 && n <= longestWord {
				d[strings.ToLower(word)] = true
			}
		}
	}
	return d
}

// segment divides an utterance into words. Runs of letters or digits of other scripts stay
// whole, spaces disappear, any other sign is a word of its own.
func (d dictionary) segment(text string) []string {
	runes := []rune(text)
	words := make([]string, 0, len(runes)/2+1)
	for i := 0; i < len(runes); {
		if unicode.IsSpace(runes[i]) {
			i++
			continue
		}
		n := d.wordAt(runes[i:])
		words = append(words, string(runes[i:i+n]))
		i += n
	}
	return words
}

func (d dictionary) wordAt(runes []rune) int {
	if run := alphabetic(runes); run > 0 {
		return run
	}
	for n := min(longestWord, len(runes)); n > 1; n-- {
		if d[strings.ToLower(string(runes[:n]))] {
			return n
		}
	}
	return 1
}

// alphabetic is the length of the run of letters and digits at the start, outside of scripts
// that write without spaces.
func alphabetic(runes []rune) int {
	for i, r := range runes {
		letter := unicode.IsLetter(r) && !unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Thai)
		if !letter && !unicode.IsDigit(r) {
			return i
		}
	}
	return len(runes)
}

// normalise is the form in which utterances are compared: lower case, half width, letters and
// digits only.
func normalise(text string) string {
	return strings.Map(func(r rune) rune {
		if r >= '！' && r <= '～' {
			r -= '！' - '!'
		}
		if unicode.IsLetter(r) || unicode.IsNumber(r) {
			return unicode.ToLower(r)
		}
		return -1
	}, text)
}
