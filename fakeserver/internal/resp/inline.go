package resp

// SplitArgs splits a line into words by the rules of inline commands. It reports false where quotes do not balance.
func SplitArgs(line string) (words []string, ok bool) {
	args, ok := splitInline([]byte(line))
	for _, arg := range args {
		words = append(words, string(arg))
	}
	return words, ok
}

// splitInline splits an inline command into its arguments by the rules of Redis' sdssplitargs: arguments are separated
// by white space; "…" knows \n \r \t \b \a \xHH and takes any other escaped byte as it is; '…' knows \' only; a closing
// quote must be followed by white space or the end. It reports false where quotes do not balance. The line holds no
// zero byte and no line end.
func splitInline(line []byte) (args [][]byte, ok bool) {
	// Decoding never makes an argument longer, so all of them fit one allocation.
	text := make([]byte, 0, len(line))
	for i := 0; ; {
		for i < len(line) && isSpace(line[i]) {
			i++
		}
		if i == len(line) {
			return args, true
		}
		start := len(text)
		if text, i, ok = inlineArg(text, line, i); !ok {
			return nil, false
		}
		args = append(args, text[start:len(text):len(text)])
	}
}

// inlineArg appends to text the argument that starts at line[i] and returns where it ends.
func inlineArg(text, line []byte, i int) ([]byte, int, bool) {
	var quote byte
	for ; i < len(line); i++ {
		c := line[i]
		switch {
		case quote == 0 && (c == ' ' || c == '\t' || c == '\r'):
			// Vertical tab and form feed separate arguments but do not end one: sdssplitargs, too, skips blanks by
			// isspace() and ends a word by its own shorter list.
			return text, i, true
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		case quote != 0 && c == quote:
			closed := i+1 == len(line) || isSpace(line[i+1])
			return text, i + 1, closed
		case quote == '"' && c == '\\' && i+3 < len(line) && line[i+1] == 'x' && isHex(line[i+2]) && isHex(line[i+3]):
			text = append(text, unhex(line[i+2])<<4|unhex(line[i+3]))
			i += 3
		case quote == '"' && c == '\\' && i+1 < len(line):
			i++
			text = append(text, unescape(line[i]))
		case quote == '\'' && c == '\\' && i+1 < len(line) && line[i+1] == '\'':
			i++
			text = append(text, '\'')
		default:
			text = append(text, c)
		}
	}
	return text, i, quote == 0
}

// isSpace is C's isspace() in the "C" locale.
func isSpace(c byte) bool { return c == ' ' || '\t' <= c && c <= '\r' }

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func unhex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c <= 'F':
		return c - 'A' + 10
	default:
		return c - 'a' + 10
	}
}

func unescape(c byte) byte {
	switch c {
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	case 'b':
		return '\b'
	case 'a':
		return '\a'
	default:
		return c
	}
}
