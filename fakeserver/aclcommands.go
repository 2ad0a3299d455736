package fakeserver

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/entracache/entracache/fakeserver/internal/acl"
)

// account is a user that ACL SETUSER makes, in the profiles of open-source
// Redis. Its connections hold its grant, so that a change applies to their next
// command.
type account struct {
	user  atomic.Pointer[acl.User]
	grant *grant
}

func newAccount(name string, user *acl.User) *account {
	a := &account{grant: &grant{objectID: name}}
	a.store(user)
	return a
}

func (a *account) store(user *acl.User) {
	a.user.Store(user)
	a.grant.set.Store(user.Set())
}

// letIn signs a connection in as the default user, if that needs no password.
func (s *Server) letIn(c *connection) {
	if !s.prof.openUsers {
		return
	}
	s.stateMu.Lock()
	defer s.stateMu.Unlock()
	a := s.accounts[defaultUser]
	if u := a.user.Load(); u.On() && u.NoPass() {
		c.identity.Store(&identity{user: defaultUser, kind: AuthNone, grant: a.grant})
		c.guard.SetAuthenticated(true)
	}
}

// verifyAccount checks the name and password of a user that ACL made.
func (s *Server) verifyAccount(name, password string) signIn {
	in := signIn{user: name}
	s.stateMu.Lock()
	defer s.stateMu.Unlock()
	switch a := s.accounts[name]; {
	case a == nil:
		in.reason, in.detail = ReasonUnknownUser, "there is no such user"
	case !a.user.Load().On():
		in.reason, in.detail = ReasonUserOff, "the user is switched off"
	case !a.user.Load().Admits(password):
		in.reason, in.detail = ReasonBadPassword, "the password is none of the user's"
	default:
		in.id = &identity{user: name, kind: AuthPassword, grant: a.grant}
	}
	return in
}

// setDefaultPassword is CONFIG SET requirepass: the one password of the default
// user, or none.
func (s *Server) setDefaultPassword(password string) {
	if !s.prof.openUsers {
		return
	}
	s.stateMu.Lock()
	defer s.stateMu.Unlock()
	rules := []string{"resetpass", ">" + password}
	if password == "" {
		rules[1] = "nopass"
	}
	a := s.accounts[defaultUser]
	// Neither rule can be refused.
	if u, err := a.user.Load().With(s.rules(), rules...); err == nil {
		a.store(u)
	}
}

// rules are the language of permissions with the default for channels that
// CONFIG SET acl-pubsub-default chose.
func (s *Server) rules() *acl.Rules { return s.acl.Load() }

// cmdACL is ACL. Where the service makes the users, it tells about the language
// and about oneself only; what Azure Managed Redis answers to the rest has no
// source.
func cmdACL(q *request) {
	switch {
	case q.is("help", 2, 2):
		q.aclHelp()
	case q.is("whoami", 2, 2):
		name := q.c.user()
		if name == "" {
			name = defaultUser // whose rights a new connection has in Redis
		}
		q.bulk(name)
	case q.is("cat", 2, 3):
		q.aclCat()
	case q.is("genpass", 2, 3):
		q.aclGenPass()
	case !q.s.prof.openUsers:
		cmdNotEmulated(q)
	case q.is("setuser", 3, -1):
		q.aclSetUser()
	case q.is("deluser", 3, -1):
		q.aclDelUser()
	case q.is("getuser", 3, 3):
		q.aclGetUser()
	case q.is("list", 2, 2), q.is("users", 2, 2):
		q.aclList(equalFold(q.args[1], "users"))
	case q.is("load", 2, -1), q.is("save", 2, -1):
		q.err("ERR This Redis instance is not configured to use an ACL file. You may want to specify users via the ACL SETUSER command and then issue a CONFIG REWRITE (assuming you have a Redis configuration file set) in order to store users in the Redis configuration.")
	case q.is("log", 2, 3):
		q.aclLog()
	case q.is("dryrun", 4, -1) && q.since("7.0"):
		q.aclDryRun()
	default:
		q.unknownSubcommand()
	}
}

func (q *request) aclHelp() {
	lines := []string{
		"CAT [<category>] -- The categories, or the commands of one.",
		"DELUSER <username> [<username> ...] -- Delete users and close their connections.",
	}
	if q.since("7.0") {
		lines = append(lines, "DRYRUN <username> <command> [<arg> ...] -- Whether the user may run a command.")
	}
	q.help(append(lines,
		"GENPASS [<bits>] -- A random password of 256 bits, or of so many.",
		"GETUSER <username> -- A user in detail.",
		"LIST -- The users, as rules.",
		"LOAD -- Read the users from the ACL file, which there is not.",
		"LOG [<count> | RESET] -- What was denied lately.",
		"SAVE -- Write the users to the ACL file, which there is not.",
		"SETUSER <username> [<rule> ...] -- Make or change a user.",
		"USERS -- The names of the users.",
		"WHOAMI -- Who this connection is.")...)
}

// aclCat lists commands in the order of their names; the engine does in that of
// a hash table.
func (q *request) aclCat() {
	if len(q.args) == 2 {
		q.strings(q.s.table.Categories())
		return
	}
	category := strings.ToLower(string(q.args[2]))
	if !slices.Contains(q.s.table.Categories(), category) {
		q.err(fmt.Sprintf("ERR Unknown category '%s'", clip(q.args[2], 128)))
		return
	}
	var names []string
	for _, cmd := range q.s.table.Every() {
		if cmd.InCategory(category) {
			names = append(names, cmd.Name)
		}
	}
	slices.Sort(names)
	q.strings(names)
}

func (q *request) aclGenPass() {
	const mostBits = 4096
	bits := int64(256)
	if len(q.args) == 3 {
		var ok bool
		if bits, ok = q.number(q.args[2], notAnInteger); !ok {
			return
		}
	}
	if bits <= 0 || bits > mostBits {
		q.err(fmt.Sprintf("ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to %d", mostBits))
		return
	}
	digits := int(bits+3) / 4
	q.bulk(randomHex((digits + 1) / 2)[:digits])
}

func (q *request) aclSetUser() {
	s, name := q.s, string(q.args[2])
	if strings.ContainsAny(name, " \t\n\v\f\r\x00") {
		q.err("ERR Usernames can't contain spaces or null characters")
		return
	}
	rules := make([]string, len(q.args)-3)
	for i, arg := range q.args[3:] {
		rules[i] = string(arg)
	}
	s.stateMu.Lock()
	a := s.accounts[name]
	before := s.rules().NewUser()
	if a != nil {
		before = a.user.Load()
	}
	after, err := before.With(s.rules(), rules...)
	if err != nil {
		s.stateMu.Unlock()
		q.err("ERR " + err.Error())
		return
	}
	if a == nil {
		s.accounts[name] = newAccount(name, after)
	} else {
		a.store(after)
	}
	// Rules may hold passwords, so the event tells their outcome only.
	s.record(Event{Kind: EventPolicyAssigned, User: name, Detail: "the user was set by ACL SETUSER"})
	s.stateMu.Unlock()
	if a != nil {
		q.cut(ReasonUnassigned, func(c *connection) bool { return c.granted(a.grant) && c.holdsForbidden(after.Set()) })
	}
	q.simple("OK")
}

// granted says whether the connection has its permissions from the grant.
func (c *connection) granted(g *grant) bool {
	id := c.identity.Load()
	return id != nil && id.grant == g
}

// holdsForbidden says whether the connection is subscribed to something that
// the set does not allow.
func (c *connection) holdsForbidden(set *acl.Set) bool {
	sub := c.sub.Load()
	if sub == nil {
		return false
	}
	return sub.anyTopic(func(topic string, isPattern bool) bool { return !set.AllowsSubscription(topic, isPattern) })
}

// cut closes the connections that match; one's own gets its reply first.
func (q *request) cut(r Reason, match func(*connection) bool) {
	if match(q.c) {
		q.c.quit, q.c.quitReason = true, r
	}
	q.s.cut(r, func(c *connection) bool { return c != q.c && match(c) })
}

func (q *request) aclDelUser() {
	for _, name := range q.args[2:] {
		if string(name) == defaultUser {
			q.err("ERR The 'default' user cannot be removed")
			return
		}
	}
	s, deleted := q.s, 0
	for _, arg := range q.args[2:] {
		name := string(arg)
		s.stateMu.Lock()
		a := s.accounts[name]
		if a != nil {
			delete(s.accounts, name)
			a.grant.set.Store(s.noAccess)
			s.record(Event{Kind: EventPolicyRemoved, User: name, Detail: "the user was deleted by ACL DELUSER"})
		}
		s.stateMu.Unlock()
		if a != nil {
			q.cut(ReasonUnassigned, func(c *connection) bool { return c.granted(a.grant) })
			deleted++
		}
	}
	q.integer(int64(deleted))
}

// account returns the user of that name, or nil.
func (s *Server) account(name []byte) *acl.User {
	s.stateMu.Lock()
	defer s.stateMu.Unlock()
	if a := s.accounts[string(name)]; a != nil {
		return a.user.Load()
	}
	return nil
}

func (q *request) aclGetUser() {
	u := q.s.account(q.args[2])
	if u == nil {
		q.null()
		return
	}
	permissions := u.Permissions()
	switch {
	case q.since("7.0"):
		q.mapHeader(6)
	case q.since("6.2"):
		q.mapHeader(5)
	default:
		q.mapHeader(4)
	}
	q.bulk("flags")
	flags := u.Flags()
	q.setHeader(len(flags))
	for _, f := range flags {
		q.bulk(f)
	}
	q.bulk("passwords")
	q.strings(u.Passwords())
	q.aclPermissions(permissions[0])
	if !q.since("7.0") {
		return
	}
	q.bulk("selectors")
	q.array(len(permissions) - 1)
	for _, p := range permissions[1:] {
		q.mapHeader(3)
		q.aclPermissions(p)
	}
}

// aclPermissions replies with the fields of permissions: lists of patterns
// without the signs before them in 6.x, rules in one text from 7.0 on.
func (q *request) aclPermissions(p acl.Permissions) {
	q.bulk("commands")
	q.bulk(p.Commands)
	patterns := func(name string, rules []string) {
		q.bulk(name)
		if q.since("7.0") {
			q.bulk(strings.Join(rules, " "))
			return
		}
		q.array(len(rules))
		for _, rule := range rules {
			q.bulk(rule[1:])
		}
	}
	patterns("keys", p.Keys)
	if q.since("6.2") {
		patterns("channels", p.Channels)
	}
}

func (q *request) aclList(justNames bool) {
	s := q.s
	s.stateMu.Lock()
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(s.accounts)) {
		if justNames {
			lines = append(lines, name)
		} else {
			lines = append(lines, "user "+name+" "+s.accounts[name].user.Load().String())
		}
	}
	s.stateMu.Unlock()
	q.strings(lines)
}

func (q *request) aclDryRun() {
	u := q.s.account(q.args[2])
	args := q.args[3:]
	cmd, _ := q.s.table.Find(args)
	switch {
	case u == nil:
		q.err(fmt.Sprintf("ERR User '%s' not found", q.args[2]))
		return
	case cmd == nil:
		q.err(fmt.Sprintf("ERR Command '%s' not found", args[0]))
		return
	case !cmd.ArityOK(len(args)):
		q.err("ERR wrong number of arguments for '" + cmd.Name + "' command")
		return
	}
	who := "This user"
	if q.since("7.2") {
		who = "User " + string(q.args[2])
	}
	switch verdict, at := u.Set().Explain(cmd, args); verdict {
	case acl.OK:
		q.simple("OK")
	case acl.DeniedKey:
		q.bulk(fmt.Sprintf("%s has no permissions to access the '%s' key", who, args[at]))
	case acl.DeniedChannel:
		q.bulk(fmt.Sprintf("%s has no permissions to access the '%s' channel", who, args[at]))
	default:
		q.bulk(fmt.Sprintf("%s has no permissions to run the '%s' command", who, cmd.Name))
	}
}

func (q *request) aclLog() {
	count := int64(10)
	if len(q.args) == 3 {
		if equalFold(q.args[2], "reset") {
			q.s.aclLog.reset()
			q.simple("OK")
			return
		}
		var ok bool
		if count, ok = q.number(q.args[2], notAnInteger); !ok {
			return
		}
	}
	entries := q.s.aclLog.newest(count)
	now := q.s.opts.clock.Now()
	q.array(len(entries))
	for _, e := range entries {
		fields := 7
		if q.since("7.2") {
			fields = 10
		}
		q.mapHeader(fields)
		q.bulk("count")
		q.integer(e.count)
		for _, field := range [][2]string{
			{"reason", e.reason}, {"context", e.context}, {"object", e.object}, {"username", e.username},
		} {
			q.bulk(field[0])
			q.bulk(field[1])
		}
		q.bulk("age-seconds")
		q.decimal(float64(now.Sub(e.updated).Milliseconds()) / 1000)
		q.bulk("client-info")
		q.bulk(e.client)
		if fields == 10 {
			q.bulk("entry-id")
			q.integer(e.id)
			q.bulk("timestamp-created")
			q.integer(e.created.UnixMilli())
			q.bulk("timestamp-last-updated")
			q.integer(e.updated.UnixMilli())
		}
	}
}

// decimal replies with a number that has a fraction. Before 7.2 the engine
// shows 17 digits, whatever they are good for.
func (q *request) decimal(f float64) {
	text := strconv.FormatFloat(f, 'g', 17, 64)
	if q.since("7.2") {
		text = strconv.FormatFloat(f, 'g', -1, 64)
	}
	if q.c.protocol() == 3 {
		q.out = append(append(append(q.out, ','), text...), "\r\n"...)
		return
	}
	q.bulk(text)
}
