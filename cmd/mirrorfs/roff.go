package main

import (
	"bytes"
	"strings"
)

// roff writes a manual page in the man(7) macros.
type roff struct {
	bytes.Buffer
	titled bool // a title was written last, which begins a paragraph too
}

// source escapes text so that it is shown as it is, hyphens such that they can
// be copied as options.
var source = strings.NewReplacer(`\`, `\e`, `-`, `\-`, `~`, `\(ti`, `^`, `\(ha`, "`", `\(ga`, `'`, `\(aq`)

// line is text as a line of its own, which no macro is read from.
func (r *roff) line(text string) {
	r.titled = false
	if strings.HasPrefix(text, ".") {
		text = `\&` + text
	}
	r.WriteString(text + "\n")
}

// fill writes text in lines that are filled anew when they are shown.
func (r *roff) fill(text string) {
	const width = 78
	var line string
	for _, word := range strings.Fields(source.Replace(text)) {
		if line != "" && len(line)+1+len(word) > width {
			r.line(line)
			line = ""
		}
		line = strings.TrimPrefix(line+" "+word, " ")
	}
	r.line(line)
}

func (r *roff) section(title string)    { r.title(".SH " + strings.ToUpper(title)) }
func (r *roff) subsection(title string) { r.title(".SS " + title) }

func (r *roff) title(macro string) {
	r.WriteString(macro + "\n")
	r.titled = true
}

// paragraph begins one.
func (r *roff) paragraph() {
	if !r.titled {
		r.WriteString(".PP\n")
	}
	r.titled = false
}

// paragraphs writes a text like those of --help: paragraphs with blank lines
// between them; one whose first line is indented is an example.
func (r *roff) paragraphs(text string) {
	for _, p := range strings.Split(strings.Trim(text, "\n"), "\n\n") {
		p = strings.Trim(p, "\n")
		if p == "" {
			continue
		}
		if p[0] == ' ' || p[0] == '\t' {
			r.example(strings.Split(p, "\n")...)
			continue
		}
		r.paragraph()
		r.fill(p)
	}
}

// example writes lines as they are.
func (r *roff) example(lines ...string) {
	r.paragraph()
	r.WriteString(".RS 4\n.EX\n")
	for _, l := range lines {
		r.line(source.Replace(strings.TrimSpace(l)))
	}
	r.WriteString(".EE\n.RE\n")
}

// item writes a term, which is source, and what it means.
func (r *roff) item(term, text string) {
	r.WriteString(".TP\n")
	r.line(term)
	r.fill(text)
}

func bold(s string) string   { return `\fB` + source.Replace(s) + `\fR` }
func italic(s string) string { return `\fI` + source.Replace(s) + `\fR` }

// usage writes how a command is called: what is typed as it stands in bold, what
// is replaced in italics.
func (r *roff) usage(words string) {
	r.paragraph()
	var line []string
	for _, w := range strings.Fields(words) {
		name := strings.Trim(w, "[].|")
		switch {
		case strings.ToUpper(name) == name && name != "" || name == "options":
			line = append(line, strings.Replace(source.Replace(w), source.Replace(name), italic(name), 1))
		default:
			line = append(line, bold(w))
		}
	}
	r.line(strings.Join(line, " "))
}
