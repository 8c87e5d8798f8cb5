/** A running gateway: a part of its own, since a command that opens the home in its own process loads no HTTP server and no log. */
export { runGateway } from './run-gateway.ts';
export { watchBugs } from './bugs.ts';
export { openLog, type LogLevel, type LogSink } from './log.ts';
