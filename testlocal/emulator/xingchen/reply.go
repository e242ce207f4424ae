package xingchen

import (
	"context"
	"regexp"
	"strconv"
	"strings"
	"unicode"
)

// Prompt is what a reply is made from.
type Prompt struct {
	Persona Persona
	// UserName is how the user is called, Scene where the two meet; both may be empty.
	UserName, Scene string
	// Messages are what was said before, stored and given, oldest first, and at last the question.
	Messages []Turn
	// Variation is 0 for the first reply to a question and counts up with each further one.
	Variation int
	// Seed is what the request asks to be reproducible by.
	Seed uint64
}

// Turn is one message of a prompt; Role is user, assistant, system or function.
type Turn struct{ Role, Content string }

func (p Prompt) question() string {
	if len(p.Messages) == 0 {
		return ""
	}
	return p.Messages[len(p.Messages)-1].Content
}

// scriptReplier is the default Replier: it takes words from the script that a character is born with, from its example
// dialogue and opening line, or composes a sentence in its manner. The same prompt gives the same reply.
type scriptReplier struct{}

// frameMark stands where a reply's frames begin; "|" in a script becomes it.
const frameMark = '\x1f'

func unmarked(reply string) string { return strings.ReplaceAll(reply, string(frameMark), "") }

// Reply returns a text in which frameMark may stand at the borders of frames.
func (scriptReplier) Reply(_ context.Context, prompt Prompt) (string, error) {
	question := prompt.question()
	for _, answer := range []func(Prompt, string) string{
		rejected, longStory, scripted, fromMemory, fromExamples, greeting, introduction,
	} {
		if text := answer(prompt, question); text != "" {
			return text, nil
		}
	}
	return composed(prompt, question), nil
}

func rejected(p Prompt, question string) string {
	for _, condition := range p.Persona.rejects {
		if condition.Enabled && condition.hit(question) {
			if condition.ConditionType == "passive_rule" {
				return "这个话题我们改天再聊吧。"
			}
			return "这个问题我不方便回答,我们聊点别的吧。"
		}
	}
	return ""
}

func (c *rejectCondition) hit(question string) bool {
	for _, keyword := range c.Keywords {
		if keyword.Value != "" && strings.Contains(question, keyword.Value) {
			return true
		}
	}
	return c.SubRejectCondition != nil && c.SubRejectCondition.Enabled && c.SubRejectCondition.hit(question)
}

// lengthWish finds "写500字" and the like, so that a test can have an answer of any length.
var lengthWish = regexp.MustCompile(`(\d{1,6})\s*(?:字|characters)`)

func longStory(p Prompt, question string) string {
	wish := lengthWish.FindStringSubmatch(question)
	if wish == nil {
		return ""
	}
	length, err := strconv.Atoi(wish[1])
	if err != nil || length < 1 || length > 200_000 {
		return ""
	}
	sentences := []string{"从前有座山,山下住着" + p.Persona.Name + "。", "那天风很轻,云也走得慢。", "有人问起往事,只听见一声笑。", "夜里灯还亮着,故事便接着讲。"}
	var text strings.Builder
	pick := hash64(p.Seed, p.Persona.Name, question)
	for count := 0; count < length; {
		for _, r := range sentences[pick%uint64(len(sentences))] {
			if count++; count > length {
				break
			}
			text.WriteRune(r)
		}
		pick = scramble(pick)
	}
	return text.String()
}

func scripted(p Prompt, question string) string {
	var lines []string
	for _, line := range p.Persona.script {
		for _, word := range line.When {
			if strings.Contains(question, word) {
				lines = append(lines, line.Say)
				break
			}
		}
	}
	if len(lines) == 0 {
		return ""
	}
	return lines[p.Variation%len(lines)]
}

var saidName = regexp.MustCompile(`我叫([^\s,,。.!!??啊呀哦]{1,10})`)

// fromMemory shows that what was said before is known: it tells users their name.
func fromMemory(p Prompt, question string) string {
	if !strings.Contains(question, "我叫什么") && !strings.Contains(question, "我的名字") {
		return ""
	}
	for i := len(p.Messages) - 2; i >= 0; i-- {
		if name := saidName.FindStringSubmatch(p.Messages[i].Content); name != nil && p.Messages[i].Role == "user" {
			return "你叫" + name[1] + ",我记得的。"
		}
	}
	if p.UserName != "" {
		return "你是" + p.UserName + "呀。"
	}
	return "你还没有告诉我呢。"
}

func fromExamples(p Prompt, question string) string {
	best, answer := 0.5, ""
	for _, example := range p.Persona.Examples {
		if alike := likeness(example.User, question); alike >= best && example.User != "" {
			best, answer = alike, example.Character
		}
	}
	if p.Variation > 0 {
		return ""
	}
	return answer
}

func greeting(p Prompt, question string) string {
	words := plain(question)
	for _, hello := range []string{"你好", "您好", "在吗", "嗨", "hello", "hi"} {
		if words == hello || words == hello+"呀" || words == hello+"啊" {
			if p.Persona.OpeningLine != "" && p.Variation == 0 {
				return p.Persona.OpeningLine
			}
			if p.Persona.Name == "" {
				return "你好呀。"
			}
			return "你好呀,我是" + p.Persona.Name + "。"
		}
	}
	return ""
}

func introduction(p Prompt, question string) string {
	for _, ask := range []string{"你叫什么", "你是谁", "你的名字", "尊姓大名", "who are you", "your name"} {
		if !strings.Contains(strings.ToLower(question), ask) || p.Persona.Name == "" {
			continue
		}
		if p.Persona.Introduction == "" || p.Persona.Introduction == p.Persona.Name {
			return "我是" + p.Persona.Name + "。"
		}
		return "我是" + p.Persona.Name + "," + p.Persona.Introduction + "。"
	}
	return ""
}

var (
	classical = []string{
		"汝问「{q}」,容{n}细思之。", "「{q}」者,吾亦尝思之,且听吾言。", "善哉此问!「{q}」,吾心中自有计较。",
	}
	modern = []string{
		"你说「{q}」呀,让我想一想。", "「{q}」……这个我也很好奇,你先说说看?", "嗯,关于「{q}」,我觉得慢慢来就好。",
		"{n}听着呢。你提到「{q}」,后来怎么样了?",
	}
	english = []string{
		"Let me think about \"{q}\" for a moment.", "\"{q}\"? Tell me more, I am listening.", "That is a good question: \"{q}\".",
	}
)

func composed(p Prompt, question string) string {
	patterns := modern
	switch {
	case strings.IndexFunc(question, func(r rune) bool { return r > unicode.MaxLatin1 }) < 0:
		patterns = english
	case strings.Contains(p.Persona.Traits, "文言"), strings.Contains(p.Persona.Traits, "古人"):
		patterns = classical
	}
	pick := hash64(p.Seed, p.Persona.CharacterID, p.Persona.Name, question) + uint64(p.Variation)
	quoted := []rune(strings.TrimRight(strings.TrimSpace(question), "?\uff1f。.!\uff01"))
	if len(quoted) > 20 {
		quoted = append(quoted[:20:20], '…')
	}
	words := strings.NewReplacer("{q}", string(quoted), "{n}", p.Persona.Name)
	return words.Replace(patterns[pick%uint64(len(patterns))])
}

// plain strips everything but letters and digits and lowers the case.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return unicode.ToLower(r)
		}
		return -1
	}, text)
}

// likeness compares two texts by their pairs of letters: 1 is the same, 0 nothing in common.
func likeness(a, b string) float64 {
	a, b = plain(a), plain(b)
	if a == b && a != "" {
		return 1
	}
	pairsA, pairsB := pairs(a), pairs(b)
	if len(pairsA) == 0 || len(pairsB) == 0 {
		return 0
	}
	common := 0
	for pair, count := range pairsA {
		common += min(count, pairsB[pair])
	}
	return 2 * float64(common) / float64(len([]rune(a))+len([]rune(b))-2)
}

func pairs(text string) map[[2]rune]int {
	runes := []rune(text)
	if len(runes) > 512 {
		runes = runes[:512]
	}
	counts := make(map[[2]rune]int)
	for i := 1; i < len(runes); i++ {
		counts[[2]rune{runes[i-1], runes[i]}]++
	}
	return counts
}

// pieces cuts a reply into the texts of its frames: at the marks of a script, else every two to six characters.
func pieces(reply string, seed uint64) []string {
	if strings.ContainsRune(reply, frameMark) {
		var marked []string
		for piece := range strings.SplitSeq(reply, string(frameMark)) {
			if piece != "" {
				marked = append(marked, piece)
			}
		}
		return marked
	}
	var cut []string
	start, room := 0, int(scramble(seed)%5)+2
	for i := range reply {
		if room == 0 {
			cut = append(cut, reply[start:i])
			start, room = i, int(scramble(seed+uint64(i))%5)+2
		}
		room--
	}
	return append(cut, reply[start:])
}
