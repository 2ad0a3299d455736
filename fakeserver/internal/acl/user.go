package acl

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"slices"
	"strings"
)

// User is what ACL SETUSER makes: permissions, passwords and switches. It never changes and is safe for concurrent use.
type User struct {
	rules     *Rules
	on        bool
	noPass    bool
	sanitize  sanitizing
	passwords []string // SHA-256, in hexadecimal digits
	selectors []selector
	set       *Set
}

// sanitizing says whether the payload of RESTORE is checked; it is kept and shown, no more.
type sanitizing uint8

const (
	sanitizeUnset sanitizing = iota
	sanitizeOn
	sanitizeSkip
)

// NewUser returns a user as the engine makes it: off, without a password, who may do nothing.
func (r *Rules) NewUser() *User {
	u := &User{rules: r, selectors: []selector{r.newSelector()}}
	if r.since("7.2") {
		u.sanitize = sanitizeOn
	}
	u.set = r.newSet(u.selectors...)
	return u
}

// DefaultUser returns the user of connections that did not sign in: on, without the need for a password, who may do
// everything.
func (r *Rules) DefaultUser() *User {
	rules := []string{"+@all", "~*", "on", "nopass"}
	if r.since("6.2") {
		rules = append(rules, "&*")
	}
	u, err := r.NewUser().With(r, rules...)
	if err != nil {
		panic("acl: the rules of the default user: " + err.Error())
	}
	return u
}

// With returns the user after some more rules, in the language r. Besides those of [Rules.Compile] there are on, off,
// nopass, resetpass, >password, <password, #hash, !hash, reset, and from 6.2 on sanitize-payload and skip-sanitize-payload.
// A refused rule is a *[RuleError].
func (u *User) With(r *Rules, rules ...string) (*User, error) {
	rules, err := r.mergeSelectors(rules)
	if err != nil {
		return nil, err
	}
	next := *u
	next.rules = r
	next.passwords = slices.Clone(u.passwords)
	next.selectors = make([]selector, len(u.selectors))
	for i := range u.selectors {
		next.selectors[i] = u.selectors[i].clone()
	}
	for _, rule := range rules {
		if reason := next.apply(rule); reason != "" {
			return nil, &RuleError{Rule: rule, Reason: reason}
		}
	}
	next.set = r.newSet(next.selectors...)
	return &next, nil
}

func (u *User) apply(rule string) (reason string) {
	if rule == "" {
		return ""
	}
	switch lowerASCII(rule) {
	case "on":
		u.on = true
		return ""
	case "off":
		u.on = false
		return ""
	case "nopass":
		u.noPass, u.passwords = true, nil
		return ""
	case "resetpass":
		u.noPass, u.passwords = false, nil
		return ""
	case "reset":
		u.reset()
		return ""
	case "sanitize-payload":
		if u.rules.since("6.2") {
			u.sanitize = sanitizeOn
			return ""
		}
	case "skip-sanitize-payload":
		if u.rules.since("6.2") {
			u.sanitize = sanitizeSkip
			return ""
		}
	}
	switch rest := rule[1:]; {
	case rule[0] == '>':
		return u.addPassword(hash(rest))
	case rule[0] == '#':
		return u.addPassword(rest)
	case rule[0] == '<':
		return u.removePassword(hash(rest))
	case rule[0] == '!':
		return u.removePassword(rest)
	case u.rules.isSelectorRule(rule):
		return u.rules.applySelector(&u.selectors, rule)
	default:
		return u.rules.apply(&u.selectors[0], rule)
	}
}

func (u *User) reset() {
	first := &u.selectors[0]
	u.on, u.noPass, u.passwords = false, false, nil
	u.rules.setAll(first, false)
	first.allKeys, first.patterns = false, nil
	first.allChannels, first.channels = u.rules.allChannels, nil
	u.selectors = u.selectors[:1]
	if u.rules.since("6.2") {
		u.sanitize = sanitizeOn
	}
}

func (u *User) addPassword(hash string) string {
	if !isHash(hash) {
		return reasonBadHash
	}
	if !slices.Contains(u.passwords, hash) {
		u.passwords = append(u.passwords, hash)
	}
	u.noPass = false
	return ""
}

func (u *User) removePassword(hash string) string {
	if !isHash(hash) {
		return reasonBadHash
	}
	i := slices.Index(u.passwords, hash)
	if i < 0 {
		return reasonNoPassword
	}
	u.passwords = slices.Delete(u.passwords, i, i+1)
	return ""
}

func hash(password string) string {
	sum := sha256.Sum256([]byte(password))
	return hex.EncodeToString(sum[:])
}

func isHash(s string) bool {
	return len(s) == 2*sha256.Size && strings.Trim(s, "0123456789abcdef") == ""
}

// Set is what the user may do.
func (u *User) Set() *Set { return u.set }

// On says whether one may sign in as the user.
func (u *User) On() bool { return u.on }

// NoPass says whether any password will do.
func (u *User) NoPass() bool { return u.noPass }

// Passwords returns the SHA-256 of each password, in hexadecimal digits. The slice is shared and must not be changed.
func (u *User) Passwords() []string { return u.passwords }

// Admits says whether one may sign in as the user with that password.
func (u *User) Admits(password string) bool {
	if !u.on || u.noPass {
		return u.on
	}
	h, found := []byte(hash(password)), 0
	for _, p := range u.passwords {
		found |= subtle.ConstantTimeCompare(h, []byte(p))
	}
	return found == 1
}
