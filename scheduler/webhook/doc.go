// Package webhook tells events over HTTP to those who subscribed, by the
// Standard Webhooks convention.
//
// It owns who is told of which event, in which order and how often it is tried,
// how a delivery is signed and sent, where none may be sent to, and what of all
// that is saved so that the next leader goes on. What a webhook is and how it
// changes is core's; where events come from is the engine's and history's.
//
// A Runner delivers while its scheduler leads. What decides (subscription, queue,
// index) is synchronous and knows neither clock nor network; one loop (leading)
// feeds it, starts what it wants and saves how far it is. DESIGN.md has the rest.
package webhook
