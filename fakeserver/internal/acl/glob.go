package acl

// MatchGlob says whether s matches a glob pattern as Redis matches key names, key patterns and channel patterns: * is any
// run of bytes, ? one byte, [abc] [a-c] [^a] one byte of a class, \x the byte x itself. Upper and lower case differ.
//
// It follows Redis (6.0.20 and 7.0.15, the same in both) in its corners too, because permissions hang on them:
//   - a pattern with any * matches the empty string in no case, not even "*" alone; only the empty pattern does;
//   - a class without its ] reaches to the end of the pattern, and "[^" alone matches any byte;
//   - the ends of a range may be in either order, and its bytes are compared as signed ones (as Redis does on x86);
//   - \ at the very end of the pattern stands for itself.
//
// The time is at most the product of the lengths. It does not allocate.
func MatchGlob(pattern string, s []byte) bool {
	if len(s) == 0 {
		return pattern == ""
	}
	p, i := 0, 0
	// After a * the rest of the pattern is tried at every later position. Only the last * needs it: had an earlier one to
	// take more bytes, the last one could take them as well.
	afterStar, tried := -1, 0
	for i < len(s) {
		if p < len(pattern) && pattern[p] == '*' {
			p = skipStars(pattern, p)
			if p == len(pattern) {
				return true
			}
			afterStar, tried = p, i
			continue
		}
		if p < len(pattern) {
			if next, ok := matchByte(pattern, p, s[i]); ok {
				p = next
				i++
				continue
			}
		}
		if afterStar < 0 {
			return false
		}
		tried++
		p, i = afterStar, tried
	}
	return skipStars(pattern, p) == len(pattern)
}

func skipStars(pattern string, p int) int {
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p
}

// matchByte matches one byte with the element of the pattern at p, which is not a star, and returns where the next element
// begins.
func matchByte(pattern string, p int, b byte) (next int, ok bool) {
	switch pattern[p] {
	case '?':
		return p + 1, true
	case '[':
		return matchClass(pattern, p+1, b)
	case '\\':
		if p+1 < len(pattern) {
			p++
		}
	}
	return p + 1, pattern[p] == b
}

// matchClass matches one byte with the class that begins at p, after its bracket.
func matchClass(pattern string, p int, b byte) (next int, ok bool) {
	negated := p < len(pattern) && pattern[p] == '^'
	if negated {
		p++
	}
	found := false
	for ; p < len(pattern) && pattern[p] != ']'; p++ {
		switch {
		case pattern[p] == '\\' && p+1 < len(pattern):
			p++
			found = found || pattern[p] == b
		case p+2 < len(pattern) && pattern[p+1] == '-':
			low, high := signed(pattern[p]), signed(pattern[p+2])
			if low > high {
				low, high = high, low
			}
			found = found || low <= signed(b) && signed(b) <= high
			p += 2
		default:
			found = found || pattern[p] == b
		}
	}
	if p < len(pattern) {
		p++ // the closing bracket
	}
	return p, found != negated
}

func signed(b byte) int8 { return int8(b) } // reading the byte as signed is what is imitated
