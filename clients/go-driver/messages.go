package driver

// Request is a line from the harness. Its members are those of the protocol, which says what they mean.
type Request struct {
	ID       int      `json:"id"`
	Op       string   `json:"op"`
	Protocol int      `json:"protocol"`
	Client   string   `json:"client"`
	Args     []string `json:"args"`
	Channels []string `json:"channels"`

	Watch      []string   `json:"watch"`
	Commands   [][]string `json:"commands"`
	ProviderOf string     `json:"provider_of"`

	Cache struct {
		Host  string `json:"host"`
		Port  int    `json:"port"`
		CAPEM string `json:"ca_pem"`

		Cluster bool `json:"cluster"`
	} `json:"cache"`
	Entra struct {
		AuthorityHost string `json:"authority_host"`
		TenantID      string `json:"tenant_id"`
		CAPEM         string `json:"ca_pem"`
	} `json:"entra"`
	Credential struct {
		Kind           string `json:"kind"`
		ClientID       string `json:"client_id"`
		ClientSecret   string `json:"client_secret"`
		AccessKey      string `json:"access_key"`
		CertificatePEM string `json:"certificate_pem"`
		TokenFile      string `json:"token_file"`
	} `json:"credential"`
	Username string   `json:"username"`
	Scopes   []string `json:"scopes"`
	Options  struct {
		RESP           int `json:"resp"`
		PoolSize       int `json:"pool_size"`
		ConnectTimeout int `json:"connect_timeout_ms"`
		CommandTimeout int `json:"command_timeout_ms"`
		ClockRate      int `json:"clock_rate"` // 0: the clock is as fast as any
	} `json:"options"`
}

// Response is the driver's answer to a request.
type Response struct {
	ID    int      `json:"id"`
	OK    bool     `json:"ok"`
	Reply *Reply   `json:"reply,omitempty"`
	Error *Failure `json:"error,omitempty"`
	*Hello
}

// Hello is what a driver says of itself.
type Hello struct {
	Protocol     int      `json:"protocol"`
	Driver       About    `json:"driver"`
	Capabilities []string `json:"capabilities"`
}

// About names the driver and what it is made of.
type About struct {
	Name      string          `json:"name"`
	Language  string          `json:"language"`
	Libraries []LinkedLibrary `json:"libraries"`
	Runtime   string          `json:"runtime"`
	OS        string          `json:"os"`
}

// LinkedLibrary is a module with the version that was linked in.
type LinkedLibrary struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

type messageEvent struct {
	Event   string `json:"event"`
	Client  string `json:"client"`
	Channel string `json:"channel"`
	Value   string `json:"value"`
}
