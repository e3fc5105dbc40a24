package cli

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/access"
	"github.com/perigee-sched/perigee/api/client"
)

func (a *app) tokenCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "token", Short: "Give tokens to users and programs, and take them back",
		Long: `Gives tokens to users and programs, and takes them back. Commands show the token
of --token, of PERIGEE_TOKEN, or in ~/.config/perigee/token, in this order.`,
	}
	c.AddCommand(a.tokenInitCommand(), a.tokenCreateCommand(), a.tokenListCommand(), a.tokenRevokeCommand(), a.whoamiCommand())
	return c
}

func (a *app) tokenInitCommand() *cobra.Command {
	var code, description string
	var save bool
	c := &cobra.Command{
		Use: "init", Short: "Make the first token, an admin's of all teams", Args: cobra.NoArgs,
		Long: `Makes the first token, an admin's of all teams, and prints it, once. It takes the
code that the leading scheduler has written to its log, or the access.init_code
of its configuration: --code, PERIGEE_INIT_CODE, or what is typed.`,
		Example: "  perigee token init --save",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			if code, err = a.initCode(code); err != nil {
				return err
			}
			made, err := c.InitToken(cmd.Context(), api.InitRequest{Code: code, Description: description}, client.WriteOptions{})
			if err != nil {
				return err
			}
			return a.madeToken(made, save)
		},
	}
	c.Flags().StringVar(&code, "code", "", "the code in the leading scheduler's log")
	c.Flags().StringVarP(&description, "description", "m", "", "whose it is, for people to read")
	saveFlag(c, &save)
	return c
}

func saveFlag(c *cobra.Command, save *bool) {
	c.Flags().BoolVar(save, "save", false, "keep it in ~/.config/perigee/token instead of printing it")
}

func (a *app) initCode(code string) (string, error) {
	if code == "" {
		code = a.getenv("PERIGEE_INIT_CODE")
	}
	if code == "" && isTerminal(a.In) && isTerminal(a.Err) {
		fmt.Fprint(a.Err, "Code in the leading scheduler's log: ")
		fmt.Fscanln(a.In, &code) // nothing is none
	}
	if code = strings.TrimSpace(code); code == "" {
		return "", usage("which code? The leading scheduler has written it to its log: give it with --code")
	}
	return code, nil
}

// madeToken prints a token, or keeps it.
func (a *app) madeToken(made *api.WrittenToken, save bool) error {
	if made.Text == "" {
		return failed("token %s was made, but the answer that had its text was lost: revoke it, and make another", made.ID)
	}
	if save {
		path, err := a.saveToken(made.Text)
		if err == nil {
			fmt.Fprintf(a.Err, "Token %s, %s, is in %s.\n", made.ID, granted(made.Token), path)
			return nil
		}
		fmt.Fprintf(a.Err, "%s it cannot be saved: %v\n", a.paint(yellow, "warning:"), err)
	}
	if a.json() {
		return a.printJSON(made)
	}
	fmt.Fprintf(a.Err, "Token %s, %s, valid %s. Keep it: it is not told again.\n", made.ID, granted(made.Token), a.valid(made.Token))
	_, err := fmt.Fprintln(a.Out, made.Text)
	return err
}

// granted is what a token may, in words.
func granted(t api.Token) string {
	role, _ := access.ParseRole(t.Role) // the server's
	return access.Grant{Role: role, Team: t.Team, Stages: t.Stages}.String()
}

func (a *app) valid(t api.Token) string {
	if t.ExpiresAt == nil {
		return "until it is revoked"
	}
	return "until " + t.ExpiresAt.Local().Format("2006-01-02 15:04")
}

func (a *app) tokenCreateCommand() *cobra.Command {
	var r api.TokenRequest
	var life string
	var save bool
	c := &cobra.Command{
		Use: "create TEAM ROLE", Short: "Make a token", Args: cobra.ExactArgs(2),
		Long: `Makes a token and prints it, once. TEAM is a team's name, or '*' for all teams.
ROLE is viewer, deployer, operator or admin; docs/security.md says what each may.`,
		Example: "  perigee token create payments deployer --stage devel --stage staging -m 'CI of payments' --expires 90d\n" +
			"  perigee token create '*' viewer -m Prometheus --expires never",
		RunE: func(cmd *cobra.Command, args []string) error {
			r.Team, r.Role = args[0], args[1]
			if err := lifeOf(life, &r); err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			made, err := c.CreateToken(cmd.Context(), r, client.WriteOptions{})
			if err != nil {
				return err
			}
			return a.madeToken(made, save)
		},
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 1 {
				return access.Roles, cobra.ShellCompDirectiveNoFileComp
			}
			return nil, cobra.ShellCompDirectiveNoFileComp
		},
	}
	c.Flags().StringArrayVar(&r.Stages, "stage", nil, "only in this stage; may be repeated")
	c.Flags().StringVarP(&r.Description, "description", "m", "", "whose it is, for people to read")
	c.Flags().StringVar(&life, "expires", "365d", "how long it is valid: 12h, 90d or never")
	saveFlag(c, &save)
	return c
}

// lifeOf reads how long a token is to be valid.
func lifeOf(text string, r *api.TokenRequest) error {
	if text == "never" {
		r.NeverExpires = true
		return nil
	}
	d, err := time.ParseDuration(text)
	if days, isDays := strings.CutSuffix(text, "d"); isDays {
		var n int
		n, err = strconv.Atoi(days)
		d = time.Duration(n) * 24 * time.Hour
	}
	if err != nil || d <= 0 {
		return usage("--expires %s: write it as 12h, 90d or never", text)
	}
	life := api.Duration(d)
	r.ExpiresIn = &life
	return nil
}

func (a *app) tokenListCommand() *cobra.Command {
	var f client.TokenFilter
	c := &cobra.Command{
		Use: "list", Short: "List the tokens that you may revoke", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			tokens, err := all(func(cursor string) (*api.Page[api.Token], error) {
				f.Cursor = cursor
				return c.Tokens(cmd.Context(), f)
			})
			if err != nil {
				return err
			}
			return list(a, tokens, "There is no such token. `perigee token create TEAM ROLE` makes one.",
				[]string{"TOKEN", "TEAM", "ROLE", "STAGES", "STATE", "EXPIRES", "LAST USED", "DESCRIPTION"},
				func(t api.Token) []string {
					used := ""
					if t.LastUsedAt != nil {
						used = span(a.now().Sub(*t.LastUsedAt)) + " ago, from " + t.LastUsedFrom
					}
					expires := "never"
					if t.ExpiresAt != nil {
						expires = t.ExpiresAt.Local().Format("2006-01-02")
					}
					return []string{t.ID, t.Team, t.Role, strings.Join(t.Stages, " "), a.paint(tokenPaints[t.State], t.State), expires, used, t.Description}
				})
		},
	}
	c.Flags().StringVar(&f.Team, "team", "", "only this team's; '*' are those of all teams")
	c.Flags().StringVar(&f.State, "state", "", "only those that are active, expired or revoked")
	return c
}

var tokenPaints = map[string]paint{api.TokenActive: green, api.TokenExpired: dim, api.TokenRevoked: dim}

func (a *app) tokenRevokeCommand() *cobra.Command {
	return &cobra.Command{
		Use: "revoke TOKEN", Short: "End a token at once", Args: cobra.ExactArgs(1),
		Long: "Ends a token at once. TOKEN is its id, or all of its text.",
		RunE: func(cmd *cobra.Command, args []string) error {
			id := args[0]
			if of, whole := access.TokenID(id); whole {
				id = of
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			was, err := c.RevokeToken(cmd.Context(), id, client.WriteOptions{})
			if err != nil {
				return err
			}
			if a.json() {
				return a.printJSON(was)
			}
			for _, w := range was.Warnings {
				fmt.Fprintln(a.Err, a.paint(yellow, "warning:"), w)
			}
			if !was.Changed {
				_, err = fmt.Fprintf(a.Out, "Token %s was revoked already.\n", id)
				return err
			}
			_, err = fmt.Fprintf(a.Out, "Token %s is revoked.\n", id)
			return err
		},
	}
}

func (a *app) whoamiCommand() *cobra.Command {
	return &cobra.Command{
		Use: "whoami", Short: "Say who the scheduler takes you for, and what you may do", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			who, err := c.Caller(cmd.Context())
			if err != nil {
				return err
			}
			switch {
			case a.json():
				return a.printJSON(who)
			case who.Everything:
				_, err = fmt.Fprintf(a.Out, "%s, who like everybody may do everything: access.mode is open.\n", who.Name)
				return err
			}
			fmt.Fprintln(a.Out, who.Name)
			for _, g := range who.Grants {
				fmt.Fprintln(a.Out, " ", granted(api.Token{Team: g.Team, Role: g.Role, Stages: g.Stages}))
			}
			return nil
		},
	}
}
