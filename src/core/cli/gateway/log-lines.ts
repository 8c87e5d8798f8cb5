/** Lines of a gateway's log as documents, and as people read them. Pure. */
import { cut, printable } from '../../kit/index.ts';
import type { LogLineDocument } from '../documents.ts';
import type { Style } from '../style.ts';

const VALUE_LENGTH_MAX = 400;
/** Told by every line, and of no use in each. */
const LEFT_OUT = new Set(['pid']);

/** A line of the file; one that is not of our log, such as a crash of Node.js, is of level `raw`. */
export function parseLogLine(line: string): LogLineDocument {
  try {
    const value: unknown = JSON.parse(line);
    if (typeof value === 'object' && value !== null) {
      const { time, level, message, ...details } = value as Record<string, unknown>;
      if (typeof time === 'string' && typeof level === 'string') {
        return { time, level, message: typeof message === 'string' ? message : '', details };
      }
    }
  } catch {
    // It is text.
  }
  return { time: null, level: 'raw', message: line, details: {} };
}

/** `07:12:03.123 INFO  ready socket=/home/gateway.sock`. */
export function logLineText(line: LogLineDocument, style: Style): string {
  if (line.level === 'raw') return printable(line.message);
  const level = line.level.toUpperCase().padEnd(5);
  const paint = line.level === 'error' ? style.red : line.level === 'warn' ? style.yellow : style.dim;
  const details = Object.entries(line.details)
    .filter(([name, value]) => !LEFT_OUT.has(name) && value !== null)
    .map(([name, value]) => `${style.dim(`${name}=`)}${valueText(value)}`);
  const time = (line.time ?? '').slice(0, 23).replace('T', ' ');
  return [style.dim(time), paint(level), printable(line.message), ...details].join(' ');
}

/** An error's text may be of several lines: where a bug was. */
function valueText(value: unknown): string {
  if (isErrorValue(value)) {
    const text = value.stack ?? `${value.message}${value.hint === undefined ? '' : ` (${value.hint})`}`;
    return text.split('\n').map(printable).join('\n');
  }
  const isPlain = typeof value === 'string' && !/[\s"=]/.test(value);
  return cut(printable(isPlain ? value : JSON.stringify(value)), VALUE_LENGTH_MAX);
}

const isErrorValue = (
  value: unknown,
): value is { readonly message: string; readonly stack?: string; readonly hint?: string } =>
  typeof value === 'object' && value !== null && 'message' in value && typeof value.message === 'string';
