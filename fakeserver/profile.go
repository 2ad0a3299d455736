package fakeserver

import (
	"fmt"
	"strings"
)

// Profile names a service and its engine level.
type Profile string

// ProfileAzureCache60 is Azure Cache for Redis, tiers Basic, Standard and
// Premium, which offer Redis 6.0.
const ProfileAzureCache60 Profile = "azure-cache-6.0"

// profile is what differs between services, as data.
type profile struct {
	level   string // of the command table and of the error texts
	grammar string // of permission strings
	version string // redis_version
	// blocked commands answer as unknown ones. A value lists the only
	// subcommands that are blocked; nil blocks the whole command.
	blocked map[string]map[string]bool
}

// The list of blocked commands and the form of the answer are documented:
// azure-docs cache-configure.md, "Redis commands not supported in Azure Cache
// for Redis" ("read-only Cluster commands are permitted").
//
// The service's patch version is not documented (no source). 6.0.20 is the
// release whose answers the texts of level 6.0 were taken from.
var profiles = map[Profile]profile{
	ProfileAzureCache60: {
		level:   "6.0",
		grammar: "6.0",
		version: "6.0.20",
		blocked: map[string]map[string]bool{
			"acl": nil, "bgrewriteaof": nil, "bgsave": nil, "config": nil, "debug": nil, "migrate": nil, "psync": nil,
			"replicaof": nil, "save": nil, "shutdown": nil, "slaveof": nil, "sync": nil,
			"cluster": {
				"addslots": true, "bumpepoch": true, "delslots": true, "failover": true, "flushslots": true, "forget": true,
				"meet": true, "replicate": true, "reset": true, "saveconfig": true, "set-config-epoch": true, "setslot": true,
			},
		},
	},
}

func lookupProfile(p Profile) (profile, error) {
	found, ok := profiles[p]
	if !ok {
		return found, fmt.Errorf("profile %q: expected %q", p, ProfileAzureCache60)
	}
	return found, nil
}

// blocks says whether the service blocks the command in this form.
func (p *profile) blocks(name string, args [][]byte) bool {
	subs, ok := p.blocked[name]
	if !ok {
		return false
	}
	return subs == nil || len(args) > 1 && subs[strings.ToLower(string(args[1]))]
}
