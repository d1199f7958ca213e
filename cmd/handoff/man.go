package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"unicode"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// newMan is for packagers. It writes the pages itself, as cobra's own generator would
// take the helps for Markdown, and bring a converter of that into this binary.
func newMan() *cobra.Command {
	return &cobra.Command{
		Use:    "man DIR",
		Short:  "Write the manual pages to the folder DIR",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return writeManPages(cmd.OutOrStdout(), cmd.Root(), args[0])
		},
	}
}

// writeManPages writes a page for each command that is not hidden, and prints the
// paths.
func writeManPages(out io.Writer, cmd *cobra.Command, dir string) error {
	if cmd.Hidden || !cmd.IsAvailableCommand() && cmd.HasParent() && !cmd.HasSubCommands() {
		return nil
	}
	path := filepath.Join(dir, manName(cmd)+".1")
	if err := os.WriteFile(path, []byte(manPage(cmd)), 0o666); err != nil {
		return fmt.Errorf("write a manual page: %w", err)
	}
	if _, err := fmt.Fprintln(out, path); err != nil {
		return err
	}
	for _, sub := range cmd.Commands() {
		if err := writeManPages(out, sub, dir); err != nil {
			return err
		}
	}
	return nil
}

func manName(cmd *cobra.Command) string { return strings.ReplaceAll(cmd.CommandPath(), " ", "-") }

// manPage is a command's page, in the language of man(7).
func manPage(cmd *cobra.Command) string {
	var b strings.Builder
	cmd.InitDefaultHelpFlag()
	fmt.Fprintf(&b, ".TH %s 1 \"\" \"handoff %s\" \"handoff\"\n", roff(strings.ToUpper(manName(cmd))), roff(buildVersion()))
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n", roff(manName(cmd)), roff(cmd.Short))
	fmt.Fprintf(&b, ".SH SYNOPSIS\n.nf\n%s\n", roff(cmd.UseLine()))
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(&b, "%s\n", roff(cmd.CommandPath()+" COMMAND ..."))
	}
	long := cmd.Long
	if long == "" {
		long = cmd.Short
	}
	// The helps are set as they are to be read.
	fmt.Fprintf(&b, ".fi\n.SH DESCRIPTION\n.nf\n%s\n.fi\n", roff(strings.TrimSpace(long)))
	b.WriteString(".SH OPTIONS\n")
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		name := "--" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", " + name
		}
		value, usage := pflag.UnquoteUsage(f)
		if value != "" {
			name += "=" + value
		}
		switch f.DefValue {
		case "", "false", "0", "[]":
		default:
			usage += " (default: " + f.DefValue + ")"
		}
		fmt.Fprintf(&b, ".TP\n.B %s\n%s\n", roff(name), roff(usage))
	})
	fmt.Fprintf(&b, ".SH SEE ALSO\n%s\n", roff(strings.Join(manNeighbours(cmd), ", ")))
	return b.String()
}

func manNeighbours(cmd *cobra.Command) (names []string) {
	if cmd.HasParent() {
		names = append(names, manName(cmd.Parent())+"(1)")
	}
	for _, sub := range cmd.Commands() {
		if !sub.Hidden {
			names = append(names, manName(sub)+"(1)")
		}
	}
	return append(names, "sd_listen_fds(3)", "systemd.socket(5)")
}

// roff has no character that means something to troff(1), and no line that is a
// request.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`, "^", `\(ha`, "~", `\(ti`).Replace(text)
	var ascii strings.Builder
	for _, r := range text {
		if r > unicode.MaxASCII {
			fmt.Fprintf(&ascii, `\[u%04X]`, r) // groff_char(7); mandoc knows it too
			continue
		}
		ascii.WriteRune(r)
	}
	lines := strings.Split(ascii.String(), "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") {
			lines[i] = `\&` + line
		}
	}
	return strings.Join(lines, "\n")
}
