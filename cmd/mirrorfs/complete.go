package main

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// addCompletions tells the shells what may follow each command; where nothing is
// said, files. cobra completes commands and flags by itself.
func addCompletions(root *cobra.Command) {
	nothing := cobra.NoFileCompletions
	for path, complete := range map[string]cobra.CompletionFunc{
		"":             completeMount,
		"mount":        completeMount,
		"doctor":       completeMount,
		"unmount":      completeMountPoints,
		"status":       first(completeMountPoints),
		"cache ls":     completeMountPoints,
		"cache verify": completeMountPoints,
		"cache gc":     completeMountPoints,
		"cache clear":  completeMountPoints,
		"cache path":   completeMountPoints,
		"demo":         nothing,
		"version":      nothing,
	} {
		if cmd, rest, err := root.Find(strings.Fields(path)); err == nil && len(rest) == 0 {
			cmd.ValidArgsFunction = complete
		}
	}
	values := map[string]cobra.CompletionFunc{
		"log-format": cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp),
		"cache-dir":  completeDirs,
	}
	for _, name := range []string{"password-file", "tls-ca", "log-file", "files-from"} {
		values[name] = cobra.FixedCompletions(nil, cobra.ShellCompDirectiveDefault)
	}
	completeFlags(root, values)
}

// completeFlags has the values of a command's flags completed, and of those below
// it: as values says of the flag's name, else not at all.
func completeFlags(cmd *cobra.Command, values map[string]cobra.CompletionFunc) {
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		complete := values[f.Name]
		if complete == nil {
			complete = cobra.NoFileCompletions
		}
		_ = cmd.RegisterFlagCompletionFunc(f.Name, complete) // fails only where the command has its own
	})
	for _, sub := range cmd.Commands() {
		completeFlags(sub, values)
	}
}

// completeMount completes a URL as far as it is the same for all, and a folder.
func completeMount(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	switch len(args) {
	case 0:
		return []cobra.Completion{
			cobra.CompletionWithDesc("ftp://", "a server"),
			cobra.CompletionWithDesc("ftps://", "a server with TLS from the first byte"),
			cobra.CompletionWithDesc("ftpes://", "a server with TLS after AUTH TLS"),
		}, cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp
	case 1:
		return completeDirs(nil, nil, "")
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}

func completeDirs(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveFilterDirs
}

// completeMountPoints completes the folders on which mirrors are mounted.
func completeMountPoints(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	mounts, err := mirrors(nil)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var points []cobra.Completion
	for _, m := range mounts {
		points = append(points, cobra.CompletionWithDesc(m.Point, m.Source))
	}
	return points, cobra.ShellCompDirectiveNoFileComp
}

// first completes one word and no more.
func first(complete cobra.CompletionFunc) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return complete(cmd, args, word)
	}
}
