package process

import "strings"

// Shell returns the arguments that run a line with /bin/sh.
//
// A simple command is run with exec, so that the process itself, and not a
// shell in front of it, is what gets the signals, ends with the executor, and
// tells how it ended. dash, which is Debian's /bin/sh, does not do this by
// itself. Any other line is left to the shell as it is: stopping signals the
// whole group.
func Shell(line string) []string {
	if isSimple(line) {
		line = "exec " + line
	}
	return []string{"/bin/sh", "-c", line}
}

// isSimple says whether line is certainly one simple command of a program; when
// in doubt it says no, which is safe.
func isSimple(line string) bool {
	words := strings.Fields(line)
	if len(words) == 0 || strings.ContainsAny(line, ";&|(){}<>`\n#") {
		return false
	}
	first := words[0]
	return !strings.ContainsAny(first, "=$'\"\\*?[]!~:-") && !inShell[first]
}

// inShell are words that mean something to a shell and are not, or not only,
// programs.
var inShell = setOf(`
	case do done elif else esac fi for function if in select then time until while coproc
	. break continue eval exec exit export readonly return set shift times trap unset
	alias bg cd command false fc fg getopts hash jobs kill newgrp pwd read true type ulimit
	umask unalias wait echo printf test local source let declare typeset builtin bind
	caller compgen complete compopt dirs disown enable history logout mapfile popd pushd
	readarray shopt suspend chdir`)

func setOf(words string) map[string]bool {
	set := map[string]bool{}
	for _, w := range strings.Fields(words) {
		set[w] = true
	}
	return set
}
