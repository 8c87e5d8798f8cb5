/** What the commands of topic `gateway` are made of; the others load none of it. */
export { restartGateway, startGateway, stopGateway } from './control.ts';
export { runFlags, runSettings, START_TIMEOUT_MS, startTimeoutFlag } from './flags.ts';
export { logLineText } from './log-lines.ts';
export { readLog } from './log-reader.ts';
export { remoteLog } from './remote-log.ts';
export * from './views.ts';
export { drawTop, topTable, watchGateway } from './top.ts';
