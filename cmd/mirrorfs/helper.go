package main

import (
	"errors"
	"path/filepath"
	"strings"
)

// mountArgs turns the words with which mount(8) calls its helpers into those of
// the command line; ok is false when the program was not called as a helper:
//
//	mount.fuse.mirrorfs SOURCE DIR [-sfnv] [-N NAMESPACE] [-o OPTIONS] [-t TYPE]
//
// Where only Debian's mount.fuse3 is there, that one calls "mirrorfs SOURCE DIR
// -o OPTIONS", which needs no translation.
func mountArgs(program string, args []string) (out []string, ok bool, err error) {
	switch filepath.Base(program) {
	case "mount.mirrorfs", "mount.fuse.mirrorfs":
	default:
		return args, false, nil
	}
	var operands []string
	for i := 0; i < len(args); i++ {
		word := args[i]
		if len(word) < 2 || word[0] != '-' {
			operands = append(operands, word)
			continue
		}
		switch word {
		case "-o", "-t", "-N":
			i++
			if i == len(args) {
				return nil, true, errors.New(word + " has no value")
			}
			if word == "-o" {
				out = append(out, "-o", args[i])
			}
			continue
		case "-h", "--help", "-V", "--version":
			out = append(out, word)
			continue
		}
		for _, letter := range word[1:] {
			switch letter {
			case 'f':
				out = append(out, "--fake")
			case 's':
				// Before the options it is about.
				out = append([]string{"--sloppy"}, out...)
			case 'v', 'n', 'r', 'w':
			default:
				return nil, true, errors.New("unknown flag " + word)
			}
		}
	}
	for i, s := range operands {
		// A source may be written as mount.fuse has it: type#source.
		if i == 0 {
			operands[i] = strings.TrimPrefix(s, "mirrorfs#")
		}
	}
	return append(append(out, "--"), operands...), true, nil
}
