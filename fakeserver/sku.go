package fakeserver

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Tier is the tier of a cache, by the name of its SKU in the management API.
type Tier string

// The tiers of Azure Cache for Redis.
const (
	TierBasic           Tier = "Basic"
	TierStandard        Tier = "Standard"
	TierPremium         Tier = "Premium"
	TierEnterprise      Tier = "Enterprise"
	TierEnterpriseFlash Tier = "EnterpriseFlash"
)

// SKU is a tier and a size of Azure Cache for Redis, such as "Standard_C1",
// "Premium_P2" or "Enterprise_E10".
type SKU string

// DefaultSKU has everything that tokens have to do with, and room for 15,000
// clients.
const DefaultSKU SKU = "Premium_P2"

// The numbers of clients are documented: azure-docs cache-configure.md, "Default
// Redis server configuration".
var maxClientsOf = map[string]int{
	"C0": 256, "C1": 1000, "C2": 2000, "C3": 5000, "C4": 10_000, "C5": 15_000, "C6": 20_000,
	"P1": 7500, "P2": 15_000, "P3": 30_000, "P4": 40_000, "P5": 40_000,
}

var skus = func() map[SKU]Tier {
	list := map[SKU]Tier{}
	for tier, sizes := range map[Tier]string{
		TierBasic: "C0 C1 C2 C3 C4 C5 C6", TierStandard: "C0 C1 C2 C3 C4 C5 C6", TierPremium: "P1 P2 P3 P4 P5",
		TierEnterprise: "E10 E20 E50 E100", TierEnterpriseFlash: "F300 F700 F1500",
	} {
		for _, size := range strings.Fields(sizes) {
			list[SKU(string(tier)+"_"+size)] = tier
		}
	}
	return list
}()

// SKUs lists the SKUs that WithSKU knows.
func SKUs() []SKU { return slices.Sorted(maps.Keys(skus)) }

// Tier is the part of a SKU that says what the cache offers.
func (k SKU) Tier() Tier { return skus[k] }

// MaxClients is how many clients may be connected; 0 where no source says it, as
// of the Enterprise tiers.
func (k SKU) MaxClients() int {
	_, size, _ := strings.Cut(string(k), "_")
	return maxClientsOf[size]
}

// offersEntra says whether tokens sign in, and access keys can be disabled:
// "Basic, Standard, Premium: Yes. Enterprise, Enterprise Flash: No" (azure-docs
// cache-azure-active-directory-for-authentication.md, "Scope of availability").
func (t Tier) offersEntra() bool { return t == TierBasic || t == TierStandard || t == TierPremium }

// WithSKU sets the tier and size of the cache, which decide how many clients may
// be connected and whether Microsoft Entra authentication and geo-replication
// are there. Default DefaultSKU. It is for ProfileAzureCache60 only: the other
// profiles have no SKU.
func WithSKU(k SKU) Option {
	return func(o *options) error {
		if _, ok := skus[k]; !ok {
			var names []string
			for _, known := range SKUs() {
				names = append(names, string(known))
			}
			return fmt.Errorf("WithSKU: unknown SKU %q: expected one of %s", k, strings.Join(names, ", "))
		}
		o.sku = k
		return nil
	}
}

// checkSKU settles the SKU once the profile is known.
func (o *options) checkSKU() error {
	switch {
	case o.profile != ProfileAzureCache60 && o.sku != "":
		return fmt.Errorf("WithSKU: profile %q has no SKU; leave it out, or choose profile %q", o.profile, ProfileAzureCache60)
	case o.profile == ProfileAzureCache60 && o.sku == "":
		o.sku = DefaultSKU
	}
	return nil
}

// SKU is the tier and size of the cache; empty for profiles without.
func (s *Server) SKU() SKU { return s.opts.sku }

// checkTier refuses what the cache's tier does not offer.
func (s *Server) checkTier(offered bool, what, where string) error {
	if offered {
		return nil
	}
	is := fmt.Sprintf("this cache is of profile %q", s.opts.profile)
	if s.opts.sku != "" {
		is = fmt.Sprintf("this cache is %s", s.opts.sku)
	}
	return fmt.Errorf("%w: %s is there in %s, %s; start it with WithSKU(%q), or leave this out", ErrTier, what, where, is, DefaultSKU)
}

// checkEntraTier refuses what only caches with Microsoft Entra authentication
// have. Azure Managed Redis has it too (azure-docs
// articles/redis/entra-for-authentication.md).
func (s *Server) checkEntraTier(what string) error {
	return s.checkTier(s.offersEntra(), what, "the tiers Basic, Standard and Premium")
}

func (s *Server) offersEntra() bool {
	return !s.prof.openUsers && (s.opts.sku == "" || s.opts.sku.Tier().offersEntra())
}
