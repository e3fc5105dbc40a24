package server_test

import (
	"context"
	"log/slog"
	"time"

	"github.com/perigee-sched/perigee/scheduler/mesos"
)

// surveyOf asks a master what it runs.
func surveyOf(master, framework string) (*mesos.Survey, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return mesos.New(mesos.Options{Master: master, Logger: slog.New(slog.DiscardHandler)}).Survey(ctx, framework)
}
