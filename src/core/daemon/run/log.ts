/** The log of a gateway: one JSON document a line, by pino. */
import { SgwError } from '../../kit/index.ts';
import { pino, stdSerializers, stdTimeFunctions, type Logger as Pino } from 'pino';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

/** Where lines go, each with its line feed. Must not throw: a log that can't be written ends nothing. */
export interface LogSink {
  write(line: string): void;
}

/** What was refused on purpose says all in its message; where it was thrown matters only for bugs. */
function serializeError(error: Error): object {
  if (!(error instanceof SgwError) || error.kind === 'internal') return stdSerializers.err(error);
  const { code, kind, message, hint, details } = error.toDocument();
  return { code, kind, message, ...(hint === null ? {} : { hint }), details };
}

/** Lines are handed over at once, so that the last ones before a death are there. */
export function openLog(level: LogLevel, sink: LogSink): Pino {
  return pino(
    {
      level,
      base: { pid: process.pid },
      messageKey: 'message',
      timestamp: stdTimeFunctions.isoTime,
      serializers: { err: serializeError },
      formatters: { level: (label) => ({ level: label }) },
    },
    sink,
  );
}
