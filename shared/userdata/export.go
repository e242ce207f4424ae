package userdata

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"xinghe/shared/jobs"
	"xinghe/shared/sink"
)

// export is one of which there are a record, results of windows, or files.
type export struct {
	record jobs.Export
	known  bool // there is a record
	// windows are the numbers of those that are the user's.
	windows map[int]bool
	// files are those of the folder, by name.
	files    map[string]int64
	manifest *manifest // nil if there is none
}

// picture is a folder of pictures.
type picture struct {
	files map[string]int64 // by path
	known bool             // the state of the picture is kept
}

const manifestName = "manifest.json"

// lookAtExports reads what the buckets tell of exports.
func (f *finder) lookAtExports(ctx context.Context) error {
	f.exports = map[string]*export{}
	byID := map[string]*export{}
	err := f.bucket(ctx, jobs.BucketExports, ">", func(m message) error {
		record, ok := parse[jobs.Export](m.data)
		if m.mark() || !ok {
			return nil
		}
		e := &export{record: record, known: true, windows: map[int]bool{}, files: map[string]int64{}}
		f.fromSpec(e)
		f.exports[e.record.Folder()], byID[e.record.ID] = e, e
		return nil
	})
	if err != nil {
		return err
	}
	if err := f.fromPlans(ctx, byID); err != nil {
		return err
	}
	return f.bucket(ctx, jobs.BucketWindows, ">", func(m message) error {
		id, _, _ := strings.Cut(m.key(), ".")
		if result, ok := parse[jobs.WindowResult](m.data); ok && byID[id] != nil && f.ofWindow(result) {
			byID[id].windows[result.Number] = true
		}
		return nil
	})
}

// fromSpec numbers the windows of a spec that says by itself which there are, as the worker does.
func (f *finder) fromSpec(e *export) {
	spec := e.record.Spec
	if e.record.Plan != "" || spec.Characters.Is(jobs.CharactersMine) || spec.Users.Is(jobs.UsersDirectory) {
		return
	}
	user := slices.Index(spec.Users, f.user.ID)
	for i, character := range spec.Characters {
		if user >= 0 && f.character(character) {
			e.windows[i*len(spec.Users)+user] = true
		}
	}
}

// fromPlans numbers those that a list was made of. Its pieces are all as long as the first.
func (f *finder) fromPlans(ctx context.Context, exports map[string]*export) error {
	type place struct {
		plan         string
		piece, place int
	}
	var mine []place
	length := map[string]int{}
	err := f.bucket(ctx, jobs.BucketPlans, ">", func(m message) error {
		at := max(strings.LastIndexByte(m.key(), '.'), 0)
		plan := m.key()[:at]
		piece, known := parse[int]([]byte(strings.TrimPrefix(m.key()[at:], ".")))
		chunk, ok := parse[jobs.PlanChunk](m.data)
		if !known || !ok {
			return nil
		}
		if piece == 0 {
			length[plan] = len(chunk.Pairs)
		}
		for i, pair := range chunk.Pairs {
			if f.pair(pair) {
				mine = append(mine, place{plan, piece, i})
			}
		}
		return nil
	})
	for _, p := range mine {
		id, _, _ := strings.Cut(p.plan, ".")
		if e := exports[id]; e != nil && e.record.Plan == p.plan {
			e.windows[p.piece*length[p.plan]+p.place] = true
		}
	}
	return err
}

// lookAtFiles lists the sink, and reads the manifests and the user's parts.
func (f *finder) lookAtFiles(ctx context.Context) error {
	f.pictures = map[string]picture{}
	for file, err := range f.cfg.Sink.List(ctx, ".") {
		if err != nil {
			return err
		}
		folder, name := exportFolder(file.Path)
		if path.Dir(folder) == jobs.ImageFolder {
			p := f.pictures[folder]
			if p.files == nil {
				p.files = map[string]int64{}
			}
			p.files[file.Path] = file.Size
			f.pictures[folder] = p
			continue
		}
		if f.exports[folder] == nil {
			f.exports[folder] = &export{windows: map[int]bool{}, files: map[string]int64{}}
		}
		f.exports[folder].files[name] = file.Size
	}
	for _, folder := range slices.Sorted(maps.Keys(f.exports)) {
		if err := f.lookInto(ctx, folder, f.exports[folder]); err != nil {
			return fmt.Errorf("folder %s: %w", folder, err)
		}
	}
	return nil
}

// exportFolder takes a path apart into the folder of an export, and what is below it. What
// is of no export is taken apart at its last slash.
func exportFolder(file string) (folder, name string) {
	for at := range len(file) {
		if file[at] == '/' && exportID.MatchString(path.Base(file[:at])) {
			return file[:at], file[at+1:]
		}
	}
	return path.Dir(file), path.Base(file)
}

func (f *finder) lookInto(ctx context.Context, folder string, e *export) error {
	if _, ok := e.files[manifestName]; ok {
		m, err := readManifest(ctx, f.cfg.Sink, path.Join(folder, manifestName), &f.matcher)
		if err != nil {
			return err
		}
		e.manifest = m
		maps.Copy(e.windows, m.windows)
	}
	for _, name := range f.parts(e) {
		if err := f.readPart(ctx, path.Join(folder, name)); err != nil {
			return err
		}
	}
	return nil
}

var (
	// partName is how the worker names parts: the number of the window, and that of the part.
	partName = regexp.MustCompile(`^(\d+)-\d+\.`)
	exportID = regexp.MustCompile(`^exp_[0-9A-Z]{26}$`)
)

// parts are the names of the files that are the user's, sorted.
func (f *finder) parts(e *export) []string {
	var names []string
	for name := range e.files {
		match := partName.FindStringSubmatch(path.Base(name))
		if match == nil {
			continue
		}
		if number, err := strconv.Atoi(match[1]); err == nil && e.windows[number] {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// readPart notes the ids of the messages in a part, as far as it can be read.
func (f *finder) readPart(ctx context.Context, place string) error {
	file, err := f.cfg.Sink.Open(ctx, place)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	for id, err := range messageIDs(file, place) {
		if err != nil {
			return nil // a damaged part is the user's all the same
		}
		f.ids[id] = true
	}
	return nil
}

// pictureFiles visits the files of pictures.
func (f *finder) pictureFiles(ctx context.Context) error {
	err := f.bucket(ctx, jobs.BucketImages, ">", func(m message) error {
		folder := path.Join(jobs.ImageFolder, m.key())
		if p, ok := f.pictures[folder]; ok {
			p.known = true
			f.pictures[folder] = p
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, folder := range slices.Sorted(maps.Keys(f.pictures)) {
		if !f.mine(path.Base(folder)) {
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(f.pictures[folder].files)) {
			err := f.visit(item{place: placeFiles, kind: "picture", name: name, fate: FateRemoved, bytes: f.pictures[folder].files[name]})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// exportFiles visits parts, and the manifests that tell of them.
func (f *finder) exportFiles(context.Context) error {
	for _, folder := range slices.Sorted(maps.Keys(f.exports)) {
		e := f.exports[folder]
		for _, name := range f.parts(e) {
			if err := f.visit(item{place: placeFiles, kind: "part of an export", name: path.Join(folder, name), fate: FateRemoved, bytes: e.files[name]}); err != nil {
				return err
			}
		}
		if e.manifest == nil || !e.manifest.names {
			continue
		}
		if err := f.visit(item{place: placeFiles, kind: "manifest", name: path.Join(folder, manifestName), fate: FateRewritten, bytes: e.files[manifestName], excerpt: e.manifest.excerpt()}); err != nil {
			return err
		}
	}
	return nil
}

// exportBuckets visits what is kept of exports beside their files.
func (f *finder) exportBuckets(ctx context.Context) error {
	err := f.bucket(ctx, jobs.BucketWindows, ">", func(m message) error {
		if result, ok := parse[jobs.WindowResult](m.data); !ok || !f.ofWindow(result) {
			return nil
		}
		return f.found(m, "window of an export", FateRewritten, m.data)
	})
	if err != nil {
		return err
	}
	err = f.bucket(ctx, jobs.BucketPlans, ">", func(m message) error {
		chunk, ok := parse[jobs.PlanChunk](m.data)
		if !ok || !slices.ContainsFunc(chunk.Pairs, f.pair) {
			return nil
		}
		return f.found(m, "plan of an export", FateRewritten, f.planExcerpt(chunk))
	})
	if err != nil || f.user.Bot != "" { // as long as another bot's part is kept, the spec names the user rightly
		return err
	}
	return f.bucket(ctx, jobs.BucketExports, ">", func(m message) error {
		if m.mark() {
			return nil
		}
		if _, changed, err := f.scrubJSON(m.data); err != nil || !changed {
			return err
		}
		return f.found(m, "export", FateRewritten, f.exportExcerpt(m.data))
	})
}

func (m *matcher) ofWindow(result jobs.WindowResult) bool {
	return m.pair([2]string{result.Window.CharacterID, result.Window.UserID})
}

// blankWindow leaves nothing of a window but that it has been dealt with, so that an export
// that is resumed does not read it again.
func (m *matcher) blankWindow(data []byte) ([]byte, error) {
	var result jobs.WindowResult
	if err := json.Unmarshal(data, &result); err != nil {
		return nil, err
	}
	return encode(jobs.WindowResult{
		Number: result.Number, Round: result.Round, Done: true, Parts: []jobs.Part{},
		Window: jobs.WindowCount{Number: result.Number, CharacterID: result.Window.CharacterID, UserID: Erased, From: result.Window.From, To: result.Window.To},
	})
}

func (m *matcher) blankPlan(data []byte) ([]byte, error) {
	var chunk jobs.PlanChunk
	if err := json.Unmarshal(data, &chunk); err != nil {
		return nil, err
	}
	for i, pair := range chunk.Pairs {
		if m.pair(pair) {
			chunk.Pairs[i][1] = Erased
		}
	}
	return encode(chunk)
}

// copyFile brings a file of the sink to a writer.
func copyFile(ctx context.Context, from sink.Sink, name string, to io.Writer) error {
	file, err := from.Open(ctx, name)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	_, err = io.Copy(to, file)
	return err
}
