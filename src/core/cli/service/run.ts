/** Flags of `service run`, and what they add up to. */
import { isIP } from 'node:net';
import path from 'node:path';
import { Flags, type Interfaces } from '@oclif/core';
import { quoted, SgwError } from '../../kit/index.ts';
import { parseListen, runFlags, type ListenAddress } from '../gateway/flags.ts';
import { pathFlag } from '../flags.ts';
import { periodMs } from '../periods.ts';
import { checkChoice, parseDuration } from '../values.ts';
import { storeFlags, storeLocation } from '../store-location.ts';

const LISTEN = '127.0.0.1:8443';
const GATEWAY_LISTEN = '127.0.0.1:8444';
const REGION = 'local';
const GC_EVERY = '24h';
const GC_OFF = 'off';
const GC_EVERY_MS_MIN = 60 * 60_000;
const AUDIT_KEEP = '400d';
const AUDIT_FOREVER = 'forever';
const DRAIN_TIMEOUT_MS = 30_000;
const NAMES_MAX = 64;
const KEY_HOLDERS = ['none', 'provider'] as const;
type KeyHolder = (typeof KEY_HOLDERS)[number];

const placeFlag = Flags.custom({
  helpValue: 'HOST:PORT',
  parse: async (text, _context, flag) => {
    parsePlace(text, `--${flag.name}`);
    return text;
  },
});

const { 'log-level': logLevel, 'drain-timeout': drainTimeout, 'metrics-listen': metricsListen } = runFlags;

export const serviceRunFlags = {
  ...storeFlags('Store that everything is kept in: a directory, or s3://BUCKET/PREFIX. [default: store, in the home]'),
  listen: placeFlag({ description: `Where customers reach it, by HTTPS. [default: ${LISTEN}]` }),
  'gateway-listen': placeFlag({
    description: `Where gateways reach it, by mutual TLS. [default: ${GATEWAY_LISTEN}]`,
  }),
  'gateway-address': placeFlag({
    description: 'What gateways are told to connect to, behind a load balancer or address translation.',
  }),
  'server-name': Flags.custom({
    description: 'Name or address that it is reached by, for its certificates. [default: those that it listens at]',
    helpValue: 'NAME',
    multiple: true,
    multipleNonGreedy: true,
    parse: async (text: string) => checkServerName(text),
  })(),
  'tls-cert': pathFlag({ description: 'Certificate to show to customers, PEM, in place of one of its own CA.' }),
  'tls-key': pathFlag({ description: 'Key of that certificate, PEM. Both are read again at SIGHUP.' }),
  region: Flags.custom({
    description: `Region that it answers as, in ARNs. [default: ${REGION}]`,
    helpValue: 'REGION',
    parse: async (text: string) => checkRegion(text),
  })(),
  'service-key-file': pathFlag({
    description:
      'File of the service key, the same for all servers. [default: service.key, in the home, made at the first start]',
  }),
  keys: Flags.custom<KeyHolder>({
    options: [...KEY_HOLDERS],
    description: 'Who holds the keys of a new store; "provider" has the service seal it. [default: none]',
    parse: async (text) => checkChoice(text, KEY_HOLDERS, '--keys'),
  })(),
  'new-root-key': Flags.boolean({
    description: 'Make another access key of the root account, and print it.',
  }),
  'alert-allow-private': Flags.boolean({
    description:
      'Let alerts call webhooks at addresses of this machine and of private networks: whoever has an access key can then ' +
      'have requests sent there.',
  }),
  nats: Flags.custom({
    description: 'NATS server that several servers over one store find each other by. [default: this server is alone]',
    helpValue: 'nats://HOST:PORT',
    parse: async (text: string) => checkNats(text),
  })(),
  'gc-every': Flags.custom({
    description: 'How often one of the servers collects the store: a duration, or "off". [default: 24h]',
    helpValue: 'DURATION',
    parse: async (text: string) => checkGcEvery(text),
  })(),
  'audit-keep': Flags.custom({
    description: 'How long records of the audit are kept: days or weeks, or "forever". [default: 400d]',
    helpValue: 'DURATION',
    parse: async (text: string) => checkAuditKeep(text),
  })(),
  'metrics-listen': metricsFlag(),
  'drain-timeout': drainFlag(),
  'log-level': logLevel,
  'log-file': pathFlag({ description: 'Write the log to this file, which is rotated. [default: standard error]' }),
};

export type ServiceRunFlags = Interfaces.InferredFlags<typeof serviceRunFlags>;

function metricsFlag(): typeof metricsListen {
  return { ...metricsListen, description: 'Serve /metrics for Prometheus at this port or address of this machine.' };
}

function drainFlag(): typeof drainTimeout {
  return {
    ...drainTimeout,
    description: 'How long SIGTERM waits for requests under way; then they are cut. [default: 30s]',
  };
}

/** What a server of the service is started with; places are absolute. */
export interface ServiceRunSettings {
  readonly store: string | null;
  readonly serviceKeyFile: string | null;
  /** Null: not said. */
  readonly keys: KeyHolder | null;
  readonly listen: ListenAddress;
  readonly gatewayListen: ListenAddress;
  readonly gatewayAddress: string | null;
  readonly metricsListen: ListenAddress | null;
  readonly names: readonly string[];
  readonly files: { readonly certificate: string; readonly privateKey: string } | null;
  readonly region: string;
  readonly nats: string | null;
  readonly newRootKey: boolean;
  readonly alertAllowPrivate: boolean;
  /** Null: this server does not collect the store. */
  readonly gcEveryMs: number | null;
  /** Null: for ever. */
  readonly auditKeepMs: number | null;
  readonly drainTimeoutMs: number;
}

/** @throws invalid `flag-alone`, `bad-listen` */
export function serviceRunSettings(
  flags: ServiceRunFlags,
  env: Readonly<Record<string, string | undefined>>,
): ServiceRunSettings {
  const { 'tls-cert': certificate, 'tls-key': privateKey, 'metrics-listen': metrics } = flags;
  if ((certificate === undefined) !== (privateKey === undefined)) {
    throw new SgwError('invalid', 'flag-alone', '--tls-cert and --tls-key belong together', {
      hint: 'Give both, or none: then a certificate of the service is shown.',
    });
  }
  const isOwn = certificate === undefined || privateKey === undefined;
  return {
    store: storeLocation(flags) ?? null,
    serviceKeyFile: absoluteOrNull(flags['service-key-file']),
    keys: flags.keys ?? null,
    listen: parsePlace(flags.listen ?? LISTEN, '--listen'),
    gatewayListen: parsePlace(flags['gateway-listen'] ?? GATEWAY_LISTEN, '--gateway-listen'),
    gatewayAddress: flags['gateway-address'] ?? null,
    metricsListen: metrics === undefined ? null : parseListen(metrics, '--metrics-listen'),
    names: (flags['server-name'] ?? []).slice(0, NAMES_MAX),
    files: isOwn ? null : { certificate: path.resolve(certificate), privateKey: path.resolve(privateKey) },
    region: flags.region ?? REGION,
    nats: flags.nats === undefined ? null : natsOf(flags.nats, env['SGW_NATS_PASSWORD']),
    newRootKey: flags['new-root-key'],
    alertAllowPrivate: flags['alert-allow-private'],
    gcEveryMs: gcEveryOf(flags['gc-every'] ?? GC_EVERY),
    auditKeepMs: auditKeepOf(flags['audit-keep'] ?? AUDIT_KEEP),
    drainTimeoutMs: flags['drain-timeout'] ?? DRAIN_TIMEOUT_MS,
  };
}

const absoluteOrNull = (file: string | undefined): string | null => (file === undefined ? null : path.resolve(file));

/** `HOST:PORT` or `[HOST]:PORT`; the host may be a name. @throws invalid `bad-listen` */
function parsePlace(text: string, what: string): ListenAddress {
  const match = /^(?:\[([^\]]+)\]|([^:[\]\s]+)):(\d{1,5})$/.exec(text.trim());
  const host = match?.[1] ?? match?.[2] ?? '';
  const port = Number(match?.[3]);
  const isHost = isIP(host) !== 0 || isName(host);
  if (match !== null && isHost && port <= 65_535) return { host, port };
  throw new SgwError('invalid', 'bad-listen', `${what} ${quoted(text)} is no address with a port`, {
    hint: 'Give an address such as 127.0.0.1:8443, 0.0.0.0:8443 or [::]:8443.',
    details: { value: text },
  });
}

const isName = (text: string): boolean => text.length <= 253 && /^[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?$/i.test(text);

function checkServerName(text: string): string {
  if (isIP(text) !== 0 || isName(text)) return text;
  throw new SgwError('invalid', 'bad-server-name', `--server-name ${quoted(text)} is neither a name nor an address`, {
    hint: 'Give it without a port, such as sgw.example.org.',
    details: { value: text },
  });
}

function checkRegion(text: string): string {
  if (/^[a-z0-9][a-z0-9-]{0,62}$/.test(text)) return text;
  throw new SgwError('invalid', 'bad-region', `the region ${quoted(text)} is none`, {
    hint: 'A region has 1 to 63 small letters, digits and hyphens, a letter or digit first.',
    details: { region: text },
  });
}

/** @throws invalid `bad-duration` */
function gcEveryOf(text: string): number | null {
  if (text === GC_OFF) return null;
  const everyMs = parseDuration(text, '--gc-every');
  if (everyMs >= GC_EVERY_MS_MIN) return everyMs;
  throw new SgwError('invalid', 'bad-duration', `--gc-every ${quoted(text)} is less than an hour`, {
    hint: 'Give a duration such as 24h, or "off" for a server that leaves it to others.',
  });
}

function checkGcEvery(text: string): string {
  gcEveryOf(text);
  return text;
}

/** @throws invalid `bad-duration` */
function auditKeepOf(text: string): number | null {
  if (text === AUDIT_FOREVER) return null;
  const [, count = '', letter = ''] = /^(\d{1,5})([dw])$/.exec(text.trim()) ?? [];
  const keepMs = Number(count) * periodMs(letter);
  if (keepMs > 0) return keepMs;
  throw new SgwError('invalid', 'bad-duration', `--audit-keep ${quoted(text)} is no number of days or weeks`, {
    hint: 'Give a duration such as 400d or 60w, or "forever".',
    details: { value: text },
  });
}

function checkAuditKeep(text: string): string {
  auditKeepOf(text);
  return text;
}

function checkNats(text: string): string {
  const isServer = (part: string): boolean => {
    const url = URL.parse(part);
    return url !== null && ['nats:', 'tls:'].includes(url.protocol) && url.hostname !== '' && url.password === '';
  };
  if (text.split(',').every(isServer)) return text;
  throw new SgwError('invalid', 'bad-nats', '--nats is not the URL of a NATS server', {
    hint:
      'Give nats://HOST:PORT, tls://HOST:PORT or nats://USER@HOST:PORT, several joined by commas, without a password: ' +
      'that is read from SGW_NATS_PASSWORD.',
  });
}

/** With the password of the users that are named. */
export function natsOf(text: string, password: string | undefined): string {
  if (password === undefined || password === '') return text;
  const withPassword = (part: string): string => {
    const url = new URL(part);
    if (url.username !== '') url.password = password;
    return url.href;
  };
  return text.split(',').map(withPassword).join(',');
}
