/** Flags of the commands that start a gateway, and what `gateway start` hands on to `gateway run`. */
import { isIPv4, isIPv6 } from 'node:net';
import { Flags, type Interfaces } from '@oclif/core';
import { quoted, SgwError } from '../../kit/index.ts';
import { checkChoice, parseDuration } from '../values.ts';

const LOG_LEVELS = ['debug', 'info', 'warn', 'error'] as const;
type LogLevel = (typeof LOG_LEVELS)[number];

/** An address of this machine. */
export interface ListenAddress {
  readonly host: string;
  /** 0: any that is free. */
  readonly port: number;
}

const DRAIN_TIMEOUT_MS = 30_000;
const PORT_MAX = 65_535;

/**
 * Reads `PORT`, `HOST:PORT` or `[HOST]:PORT` of this machine: the metrics are for everybody who can connect.
 * @throws invalid `bad-listen`
 */
export function parseListen(text: string, what: string): ListenAddress {
  const match = /^(?:(?:\[([^\]]+)\]|([^:[\]]+)):)?(\d{1,5})$/.exec(text.trim());
  const given = match?.[1] ?? match?.[2] ?? '127.0.0.1';
  const host = given === 'localhost' ? '127.0.0.1' : given;
  const port = Number(match?.[3]);
  const isLoopback = (isIPv4(host) && host.startsWith('127.')) || (isIPv6(host) && host === '::1');
  if (match !== null && port <= PORT_MAX && isLoopback) return { host, port };
  throw new SgwError('invalid', 'bad-listen', `${what} ${quoted(text)} is no address of this machine alone`, {
    hint: 'Give a port, or an address such as 127.0.0.1:9464 or [::1]:9464. Others reach it through a proxy that knows who may.',
    details: { value: text },
  });
}

/** What `gateway run` and `gateway start` take alike. */
export const runFlags = {
  'log-level': Flags.custom<LogLevel>({
    description: 'What the log tells: debug also has every look at something. [default: info]',
    options: [...LOG_LEVELS],
    parse: async (text) => checkChoice(text, LOG_LEVELS, '--log-level'),
  })(),
  'metrics-listen': Flags.string({
    description: 'Also serve /metrics for Prometheus at this port or address of this machine. The socket always does.',
    helpValue: '[HOST:]PORT',
    parse: async (text) => {
      parseListen(text, '--metrics-listen');
      return text;
    },
  }),
  'drain-timeout': Flags.custom<number>({
    description:
      'How long SIGTERM waits for what is not in the store yet; what is left stays in the home. [default: 30s]',
    helpValue: 'DURATION',
    parse: async (text) => parseDuration(text, '--drain-timeout'),
  })(),
};

export type RunFlags = Interfaces.InferredFlags<typeof runFlags>;

/** The settings that the flags add up to, and the flags that give them again. */
export function runSettings(flags: RunFlags): {
  readonly logLevel: LogLevel;
  readonly drainTimeoutMs: number;
  readonly metricsListen?: ListenAddress;
  readonly args: readonly string[];
} {
  const { 'log-level': logLevel, 'metrics-listen': metrics, 'drain-timeout': drainTimeoutMs } = flags;
  return {
    logLevel: logLevel ?? 'info',
    drainTimeoutMs: drainTimeoutMs ?? DRAIN_TIMEOUT_MS,
    ...(metrics === undefined ? {} : { metricsListen: parseListen(metrics, '--metrics-listen') }),
    args: [
      ...(logLevel === undefined ? [] : ['--log-level', logLevel]),
      ...(metrics === undefined ? [] : ['--metrics-listen', metrics]),
      ...(drainTimeoutMs === undefined ? [] : ['--drain-timeout', `${String(drainTimeoutMs)}ms`]),
    ],
  };
}

/** How long the verbs wait that start something in the background. */
export const startTimeoutFlag = Flags.custom<number>({
  description: 'How long to wait until it is ready. [default: 60s]',
  helpValue: 'DURATION',
  parse: async (text) => parseDuration(text, '--timeout'),
});
export const START_TIMEOUT_MS = 60_000;
