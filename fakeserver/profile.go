package fakeserver

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/entracache/entracache/fakeserver/internal/resp"
)

// Profile names a service and its engine level.
type Profile string

// The profiles.
const (
	// ProfileAzureCache60 is Azure Cache for Redis, tiers Basic, Standard and
	// Premium, which offer Redis 6.0.
	ProfileAzureCache60 Profile = "azure-cache-6.0"
	// ProfileManagedRedis74 is Azure Managed Redis, which offers Redis 7.4.
	ProfileManagedRedis74 Profile = "managed-redis-7.4"
	// ProfileOSS60 and ProfileOSS70 are open-source Redis without
	// configuration: nothing is blocked, ACL makes the users, and the default
	// user, as whom a connection begins, needs no password. They are there to be
	// held against the real server. Access keys and tokens do not sign in to
	// them.
	ProfileOSS60 Profile = "oss-6.0"
	ProfileOSS70 Profile = "oss-7.0"
)

// profile is what differs between services, as data.
type profile struct {
	level   string // of the command table, the rules of permissions and the error texts
	version string // redis_version
	// blocked commands answer as unknown ones. A value lists the only
	// subcommands that are blocked; nil blocks the whole command.
	blocked map[string]map[string]bool
	// allChannels says that a user may use every channel unless a permission
	// string says otherwise.
	allChannels bool
	// openUsers says that users are made by ACL, as in open-source Redis.
	openUsers bool
}

// clusterWrites are the subcommands of CLUSTER that change a cluster. Which
// ones the services count among "write subcommands" has no source.
var clusterWrites = map[string]bool{
	"addslots": true, "addslotsrange": true, "bumpepoch": true, "delslots": true, "delslotsrange": true, "failover": true,
	"flushslots": true, "forget": true, "meet": true, "replicate": true, "reset": true, "saveconfig": true,
	"set-config-epoch": true, "setslot": true,
}

var profiles = map[Profile]profile{
	// The list of blocked commands and the form of the answer are documented:
	// azure-docs cache-configure.md, "Redis commands not supported in Azure
	// Cache for Redis" ("read-only Cluster commands are permitted").
	//
	// The service's patch version is not documented (no source). 6.0.20 is the
	// release whose answers the texts of level 6.0 were taken from.
	ProfileAzureCache60: {
		level:   "6.0",
		version: "6.0.20",
		blocked: map[string]map[string]bool{
			"acl": nil, "bgrewriteaof": nil, "bgsave": nil, "config": nil, "debug": nil, "migrate": nil, "psync": nil,
			"replicaof": nil, "save": nil, "shutdown": nil, "slaveof": nil, "sync": nil, "cluster": clusterWrites,
		},
	},
	// The list is documented: azure-docs articles/redis/configure.md. The form
	// of the answer is that of Azure Cache for Redis; what Azure Managed Redis
	// answers has no source, nor has its patch version.
	//
	// The service's default policy, "+@all ~*", gives "the same permissions as
	// when using Access Keys" (articles/redis/configure-access-permissions.md),
	// so channels are allowed without a rule that says so.
	ProfileManagedRedis74: {
		level:       "7.4",
		version:     "7.4.1",
		allChannels: true,
		blocked: map[string]map[string]bool{
			"bgrewriteaof": nil, "bgsave": nil, "move": nil, "psync": nil, "replicaof": nil, "replconf": nil, "save": nil,
			"select": nil, "shutdown": nil, "sync": nil, "cluster": clusterWrites, "module": {"load": true},
		},
	},
	ProfileOSS60: {level: "6.0", version: "6.0.20", openUsers: true},
	ProfileOSS70: {level: "7.0", version: "7.0.15", openUsers: true},
}

// Profiles lists the profiles by name.
func Profiles() []Profile { return slices.Sorted(maps.Keys(profiles)) }

func lookupProfile(p Profile) (profile, error) {
	found, ok := profiles[p]
	if !ok {
		var names []string
		for _, known := range Profiles() {
			names = append(names, fmt.Sprintf("%q", known))
		}
		return found, fmt.Errorf("profile %q: expected one of %s", p, strings.Join(names, ", "))
	}
	return found, nil
}

// blocks says whether the service blocks the command, whose name may have a
// subcommand in it, in this form.
func (p *profile) blocks(name string, args [][]byte) bool {
	name, _, _ = strings.Cut(name, "|")
	subs, ok := p.blocked[name]
	if !ok {
		return false
	}
	return subs == nil || len(args) > 1 && subs[strings.ToLower(string(args[1]))]
}

// blocksAny says whether there are arguments with which blocks is true.
func (p *profile) blocksAny(name string) bool {
	_, ok := p.blocked[name]
	return ok
}

// since says whether the engine is of the level, such as "7.0", or a later
// one.
func (p *profile) since(level string) bool { return p.level >= level }

// limits are the level's limits of the input.
func (p *profile) limits() resp.Limits {
	if p.since("7.0") {
		return resp.Limits{Args: math.MaxInt32, Overrun: 96 << 10}
	}
	return resp.Limits{}
}

// wrongPassText is the level's answer to a refused sign-in.
func (p *profile) wrongPassText() string {
	if p.since("6.2") {
		return DefaultWrongPassText + " or user is disabled."
	}
	return DefaultWrongPassText
}
