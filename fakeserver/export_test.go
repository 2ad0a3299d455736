package fakeserver

// Levels that no service of ours has in a form in which users can be made, for
// the tests that hold their texts against a real server's.
const (
	ProfileTest62 Profile = "test-6.2"
	ProfileTest74 Profile = "test-7.4"
)

func init() {
	profiles[ProfileTest62] = profile{level: "6.2", version: "6.2.16", openUsers: true, allChannels: true}
	profiles[ProfileTest74] = profile{level: "7.4", version: "7.4.1", openUsers: true}
}

// ExpireEvery is expireEvery.
const ExpireEvery = expireEvery
