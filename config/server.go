package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/perigee-sched/perigee/api"
)

// Server is the configuration of a scheduler. A setting's name in the
// environment and among the flags follows from its path: mesos.role is
// PERIGEE_MESOS_ROLE and --mesos-role.
//
// The tags: yaml is the name; default the value when nobody says another, as
// YAML has it; help one sentence for flags and documentation; unset what an
// empty value means.
type Server struct {
	Cluster  string   `yaml:"cluster" default:"perigee" help:"Name of this cluster, as users see it and events carry it."`
	API      API      `yaml:"api"`
	Access   Access   `yaml:"access"`
	Journal  Journal  `yaml:"journal"`
	Mesos    Mesos    `yaml:"mesos"`
	Executor Executor `yaml:"executor"`
	Defaults Defaults `yaml:"defaults"`
	Limits   Limits   `yaml:"limits"`
	Events   Events   `yaml:"events"`
	Webhooks Webhooks `yaml:"webhooks"`
	Finished Finished `yaml:"finished"`
	History  History  `yaml:"history"`
	Log      Log      `yaml:"log"`
}

// API is where the HTTP API is.
type API struct {
	Listen    string `yaml:"listen" default:"127.0.0.1:7300" help:"Address and port that the HTTP API listens on; port 0 is any free one. Elsewhere than on loopback, access.mode must be said."`
	PublicURL string `yaml:"public_url" unset:"http:// (https:// with api.tls.cert) and the address listened on, or the host's name if that is all of its addresses" help:"URL under which users and agents reach the HTTP API."`
	TLS       TLS    `yaml:"tls"`
}

// TLS is how the API is spoken to where that is not in plain text.
type TLS struct {
	Cert string `yaml:"cert" unset:"plain HTTP is spoken" help:"File with the certificate that the HTTP API shows, and those between it and its authority's, in PEM format. The API speaks TLS with it, and nothing else. It is read again when it changes, and so is the key."`
	Key  string `yaml:"key" unset:"none" help:"File with the private key of that certificate, in PEM format."`
	CA   string `yaml:"ca" unset:"the system's" help:"File with the certificates of the authorities that the schedulers' are signed by: schedulers that ask each other over https trust them alone."`
}

// Access says who may do what.
type Access struct {
	Mode     string `yaml:"mode" unset:"open, on loopback; elsewhere it must be said" help:"Who may use the API: token is whoever shows a token or is vouched for by access.oidc, see docs/security.md; open is everyone, who may do everything."`
	Reads    string `yaml:"reads" default:"team" help:"Who may read where access.mode is token: team is who has a role in the job's team and stage; authenticated is who has one anywhere; open is everyone. What tasks have written to their sandboxes always takes a role in the team and stage."`
	Proxies  string `yaml:"proxies" unset:"none" help:"Proxies in front of the API, as addresses or networks separated by commas: 10.0.0.8, 10.1.0.0/16. They alone are believed when they say in X-Forwarded-For for whom they ask."`
	OIDC     OIDC   `yaml:"oidc"`
	InitCode string `yaml:"init_code" secret:"true" unset:"a random one, which the leading scheduler logs while there is no token" help:"Code that perigee token init makes the first token with; the same for all schedulers, at least 20 characters."`
}

// OIDC says for whom an OpenID Connect issuer vouches, beside tokens.
type OIDC struct {
	Issuer    string `yaml:"issuer" unset:"nobody is known by OIDC" help:"URL of the OpenID Connect issuer whose JWTs are taken, as they have it in iss."`
	Audience  string `yaml:"audience" unset:"none" help:"Audience that JWTs must be for: the id of the client that Perigee is to the issuer. It is needed."`
	UserClaim string `yaml:"user_claim" default:"preferred_username" help:"Claim that names people; the subject where there is none."`
	Claim     string `yaml:"claim" default:"groups" help:"Claim whose value, or values, access.oidc.grants is about. A name with dots is a path: realm_access.roles."`
	TeamClaim string `yaml:"team_claim" unset:"none" help:"Claim whose value, or values, are the teams that {team} in a grant stands for, where the value that it is for has no {team} itself."`
	Grants    string `yaml:"grants" unset:"nothing is granted" help:"What values of the claim grant, separated by semicolons: VALUE=ROLE:TEAM, or VALUE=ROLE:TEAM:STAGE+STAGE. For example ops=admin:*; {team}-devs=deployer:{team}:devel+staging."`
}

// ProxyNetworks are the networks of Proxies.
func (a Access) ProxyNetworks() ([]netip.Prefix, error) {
	var all []netip.Prefix
	for _, text := range strings.Split(a.Proxies, ",") {
		text = strings.TrimSpace(text)
		if text == "" {
			continue
		}
		p, err := netip.ParsePrefix(text)
		if err != nil {
			addr, addrErr := netip.ParseAddr(text)
			if addrErr != nil {
				return nil, fmt.Errorf("%q is no address and no network", text)
			}
			p = netip.PrefixFrom(addr, addr.BitLen())
		}
		all = append(all, p.Masked())
	}
	return all, nil
}

// Tokens says whether callers must show who they are.
func (a Access) Tokens() bool { return a.Mode == "token" }

// Journal is where state is kept.
type Journal struct {
	URL            string       `yaml:"url" default:"file:///var/lib/perigee/journal" help:"Where state is kept: file:// and the absolute path of a directory, for one scheduler; zk://host:2181,host:2181,host:2181/path for several that share a ZooKeeper."`
	Credentials    string       `yaml:"credentials" secret:"true" unset:"none" help:"User and password that ZooKeeper's znodes are protected with, as user:password; the same for all schedulers. Better in the file or the environment than in a flag, which others on the machine see."`
	SessionTimeout api.Duration `yaml:"session_timeout" default:"6s" help:"How long a leading scheduler may be out of contact with ZooKeeper before another leads."`
}

// Mesos is the cluster that tasks run on.
type Mesos struct {
	Master          string       `yaml:"master" default:"127.0.0.1:5050" help:"Mesos masters, as host:port,host:port or zk://host:port,host:port/path."`
	Role            string       `yaml:"role" default:"perigee" help:"Role whose resources are used."`
	FrameworkName   string       `yaml:"framework_name" default:"perigee" help:"Name of the framework, as Mesos's own pages show it."`
	User            string       `yaml:"user" unset:"the user that the scheduler runs as" help:"User that executors run as on agents: root, so that each task can run as its own, or one user for everything."`
	Principal       string       `yaml:"principal" unset:"none" help:"Principal that masters and agents are shown by HTTP's basic authentication; Mesos does not let it change in a framework's life."`
	Secret          string       `yaml:"secret" secret:"true" unset:"none" help:"Its secret. Better in the file or the environment than in a flag, which others on the machine see."`
	TLS             bool         `yaml:"tls" default:"false" help:"Whether masters and agents speak TLS."`
	CA              string       `yaml:"ca" unset:"the system's" help:"File with the certificates of the authorities that masters' and agents' are signed by."`
	FailoverTimeout api.Duration `yaml:"failover_timeout" default:"168h" help:"How long Mesos keeps tasks running without any scheduler before it kills them all."`
}

// Executor is what runs each task on its agent.
type Executor struct {
	URL       string    `yaml:"url" unset:"api.public_url and /v1/executor/perigee-executor" help:"URL that agents download perigee-executor from; a stable one, since Mesos caches by it."`
	Path      string    `yaml:"path" unset:"perigee-executor beside the perigee binary" help:"The perigee-executor binary that this scheduler serves to agents."`
	CPUs      float64   `yaml:"cpus" default:"0.01" help:"CPUs that each task's executor asks for, on top of the task's; at least Mesos's minimum of 0.01."`
	Memory    api.Bytes `yaml:"memory" default:"32MiB" help:"Memory that each task's executor asks for, on top of the task's; at least Mesos's minimum of 32MiB."`
	AllowRoot bool      `yaml:"allow_root" default:"false" help:"Whether tasks may run as root."`
	CacheDir  string    `yaml:"cache_dir" default:"/var/cache/perigee" help:"Directory on each agent that artifacts are cached in."`
	CacheSize api.Bytes `yaml:"cache_size" default:"10GiB" help:"Most disk space of an agent's artifact cache; the least recently used artifacts go first."`
}

// Defaults are what specs get that do not say; see docs/job-files.md for those
// that cannot be configured.
type Defaults struct {
	User                    string       `yaml:"user" unset:"the user that executors run as" help:"User that tasks run as whose job names none."`
	UnreachableReplaceAfter api.Duration `yaml:"unreachable_replace_after" default:"5m" help:"How long a task's agent may be unreachable before the task is replaced, for jobs that do not say."`
}

// Limits are refused to be exceeded.
type Limits struct {
	Instances int `yaml:"instances" default:"10000" help:"Most instances of one service."`
	Pending   int `yaml:"pending" default:"100000" help:"Most tasks that wait to be placed; more runs are refused until some are."`
	Requests  int `yaml:"requests" default:"500" help:"Most requests a second to one scheduler by one token or subject of an OIDC issuer, or from one address where access.mode is open; those of 20 seconds may come at once. 0 is no limit."`
	Strangers int `yaml:"strangers" default:"100" help:"Most requests a second to one scheduler from one address that show no token, where access.mode is token; those of 20 seconds may come at once. Health checks and the download of perigee-executor do not count. 0 is no limit."`
	Failures  int `yaml:"failures" default:"60" help:"How often a minute what is no token, or a wrong code for the first one, may be shown to one scheduler from one address; then only those are let in from there who were before. 0 is no limit."`
}

// Events says how many events are kept.
type Events struct {
	Keep int `yaml:"keep" default:"100000" help:"Events kept for consumers of the event stream to resume from."`
}

// Webhooks says how events are told to those who subscribed.
type Webhooks struct {
	PrivateTargets  string       `yaml:"private_targets" default:"allow" help:"Whether events may be sent to addresses that are not public: allow or refuse. It is asked of the address that a name resolves to, each time. Link-local addresses, those of clouds' metadata, and multicast are refused in any case."`
	AllowedNetworks string       `yaml:"allowed_networks" unset:"none" help:"Networks that events may be sent to whatever they are, separated by commas, as 10.20.0.0/16,fd00:1::/32. Gates and stores of artifacts may be there, too."`
	Proxy           string       `yaml:"proxy" unset:"none" help:"HTTP proxy that events are sent through, as http://proxy:3128; variables of the environment are not looked at. The proxy connects to consumers then, and has to refuse what must not be reached."`
	RetryFor        api.Duration `yaml:"retry_for" default:"72h" help:"How long it is tried to deliver an event before it becomes a dead letter."`
	PerTeam         int          `yaml:"per_team" default:"100" help:"Most webhooks of one team."`
	Most            int          `yaml:"most" default:"1000" help:"Most webhooks of all teams."`
}

// RefusePrivate says whether only public addresses may be sent to.
func (w Webhooks) RefusePrivate() bool { return w.PrivateTargets == "refuse" }

// Networks are those of AllowedNetworks. A configuration that was checked has
// nothing else there.
func (w Webhooks) Networks() ([]netip.Prefix, error) {
	var networks []netip.Prefix
	for _, text := range strings.Split(w.AllowedNetworks, ",") {
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		if address, err := netip.ParseAddr(text); err == nil {
			text = netip.PrefixFrom(address, address.BitLen()).String()
		}
		network, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("%q is not a network: write it as 10.20.0.0/16", text)
		}
		networks = append(networks, network.Masked())
	}
	return networks, nil
}

// ProxyURL is Proxy as a URL, nil when there is none.
func (w Webhooks) ProxyURL() *url.URL {
	if w.Proxy == "" {
		return nil
	}
	u, err := url.Parse(w.Proxy)
	if err != nil {
		return nil // a configuration that was checked has none that is none
	}
	return u
}

// Finished says how long what is finished stays in the live state.
type Finished struct {
	KeepFor api.Duration `yaml:"keep_for" default:"1h" help:"How long finished tasks and runs stay in the live state once history has them; without a history they stay until there are too many."`
	Keep    int          `yaml:"keep" default:"50000" help:"Finished tasks in the live state, and finished runs likewise; beyond it the oldest go, even if a history does not have them yet, which is counted."`
}

// History is where what is finished is kept when it leaves the live state.
type History struct {
	URL        string       `yaml:"url" secret:"password" unset:"a file of this scheduler's own: beside the journal's directory, or /var/lib/perigee/history.db with a journal in ZooKeeper" help:"Where history is kept: sqlite:// and the absolute path of a file, which is this scheduler's alone; postgres://user:password@host/database for one that all schedulers share; none for no history."`
	Keep       api.Duration `yaml:"keep" default:"4320h" help:"How long history keeps finished tasks, runs and deploys."`
	EventsKeep api.Duration `yaml:"events_keep" default:"2160h" help:"How long history keeps events, audits of writes among them."`
	Size       api.Bytes    `yaml:"size" default:"20GiB" help:"Most bytes that history has; beyond it the oldest tasks, runs and events go."`
}

// NoHistory is the URL of none.
const NoHistory = "none"

// Log is what the server writes to stderr.
type Log struct {
	Level  string `yaml:"level" default:"info" help:"Least level that is logged (debug, info, warn or error)."`
	Format string `yaml:"format" default:"text" help:"Form of the log (text or json)."`
}

// ZooKeeper returns the servers, as host:port, and the path of a journal in
// ZooKeeper; false when it is elsewhere.
func (j Journal) ZooKeeper() (servers []string, path string, ok bool) {
	rest, ok := strings.CutPrefix(j.URL, "zk://")
	if !ok {
		return nil, "", false
	}
	hosts, path, _ := strings.Cut(rest, "/")
	for _, h := range strings.Split(hosts, ",") {
		servers = append(servers, strings.TrimSpace(h))
	}
	return servers, "/" + path, true
}

// Dir returns the directory of a file journal.
func (j Journal) Dir() string {
	u, err := url.Parse(j.URL)
	if err != nil {
		return ""
	}
	return u.Path
}

// HistoryURL is where history is kept, NoHistory when it is not.
func (s *Server) HistoryURL() string {
	switch _, _, inZooKeeper := s.Journal.ZooKeeper(); {
	case s.History.URL != "":
		return s.History.URL
	case inZooKeeper:
		return "sqlite:///var/lib/perigee/history.db"
	}
	return (&url.URL{Scheme: "sqlite", Path: filepath.Clean(s.Journal.Dir()) + "-history.db"}).String()
}

// Loopback says whether the API is reached from this machine alone.
func (a API) Loopback() bool {
	host, _, _ := net.SplitHostPort(a.Listen)
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// URL returns PublicURL, or the one for an API that listens on address.
func (a API) URL(address net.Addr) string {
	if a.PublicURL != "" {
		return strings.TrimSuffix(a.PublicURL, "/")
	}
	host, port, err := net.SplitHostPort(address.String())
	if ip := net.ParseIP(host); err == nil && ip != nil && ip.IsUnspecified() {
		if name, err := os.Hostname(); err == nil {
			host = name
		}
	}
	scheme := "http"
	if a.TLS.Cert != "" {
		scheme = "https"
	}
	return scheme + "://" + net.JoinHostPort(host, port)
}

// Source returns the URL that agents download the executor from, for an API
// that is reached under publicURL.
func (e Executor) Source(publicURL string) string {
	if e.URL != "" {
		return e.URL
	}
	return publicURL + api.ExecutorPath
}

// Ours says whether the executor is downloaded from schedulers.
func (e Executor) Ours() bool {
	u, err := url.Parse(e.URL)
	return err == nil && (e.URL == "" || strings.HasSuffix(u.Path, api.ExecutorPath))
}

// Binary returns the path of the perigee-executor binary to serve.
func (e Executor) Binary() (string, error) {
	if e.Path != "" {
		return e.Path, nil
	}
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	return filepath.Join(filepath.Dir(self), "perigee-executor"), nil
}
