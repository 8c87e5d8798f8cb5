/** Flags of `volume connect`, and what they add up to. */
import path from 'node:path';
import { Flags, type Interfaces } from '@oclif/core';
import { SgwError } from '../../kit/index.ts';
import { nameFlag, pathFlag } from '../flags.ts';
import { parseDuration } from '../values.ts';

const SILENCE_MS = 5000;
const SILENCE_MS_MIN = 100;
const TLS = 'TLS TO THE GATEWAYS';

const durationFlag = Flags.custom<number>({
  helpValue: 'DURATION',
  parse: async (text, _context, flag) => parseDuration(text, `--${flag.name}`),
});

export const connectFlags = {
  listen: Flags.string({
    description:
      'Where to serve it on this machine: unix:PATH, or tcp:HOST:PORT (port 0: one that is free); many times.',
    helpValue: 'PLACE',
    required: true,
    multiple: true,
    multipleNonGreedy: true,
  }),
  from: Flags.string({
    description:
      'Gateways that may hold it, HOST:PORT or unix:PATH, with commas between or many times. [default: those that the home knows]',
    helpValue: 'PLACE',
    multiple: true,
    multipleNonGreedy: true,
    delimiter: ',',
  }),
  export: nameFlag({ description: 'Name that the gateways serve it under. [default: VOLUME]' }),
  'read-only': Flags.boolean({ description: 'Take no writes.' }),
  'silence-timeout': durationFlag({
    description: 'Without any answer for so long, look whether another gateway has taken over. [default: 5s]',
  }),
  'give-up': durationFlag({
    description: 'Fail requests that no gateway has answered for so long. [default: never, they wait]',
  }),
  tls: Flags.boolean({ description: 'Speak TLS, and trust whom the system trusts.', helpGroup: TLS }),
  'tls-ca': pathFlag({ description: 'PEM file of who signs the certificates of the gateways.', helpGroup: TLS }),
  'tls-certificate': pathFlag({ description: 'PEM file of the certificate to show to them.', helpGroup: TLS }),
  'tls-key': pathFlag({ description: 'PEM file with its private key.', helpGroup: TLS }),
  'tls-psk': pathFlag({ description: 'File with a pre-shared key, USER:HEX.', helpGroup: TLS }),
  'tls-server-name': Flags.string({
    description: 'Name that their certificates have. [default: the host of each place]',
    helpValue: 'NAME',
    helpGroup: TLS,
  }),
};

type ConnectFlags = Interfaces.InferredFlags<typeof connectFlags>;

/** What is connected, without the home's part of it; paths are absolute. */
export interface ConnectSettings {
  readonly listen: readonly string[];
  readonly exportName: string;
  readonly from: readonly string[];
  readonly isReadOnly: boolean;
  readonly tls: {
    readonly ca: string | null;
    readonly certificate: string | null;
    readonly key: string | null;
    readonly psk: string | null;
    readonly serverName: string | null;
  } | null;
  readonly silenceMs: number;
  readonly giveUpMs: number | null;
}

/** @throws invalid `flag-alone`, `bad-duration` */
export function connectSettings(volume: string, flags: ConnectFlags): ConnectSettings {
  const silenceMs = flags['silence-timeout'] ?? SILENCE_MS;
  if (silenceMs < SILENCE_MS_MIN)
    throw new SgwError('invalid', 'bad-duration', '--silence-timeout is less than 100ms', {
      hint: 'Give what a busy gateway may take for one answer, such as 5s.',
    });
  return {
    listen: flags.listen,
    exportName: flags.export ?? volume,
    from: (flags.from ?? []).map((place) => place.trim()).filter((place) => place !== ''),
    isReadOnly: flags['read-only'],
    tls: tlsOf(flags),
    silenceMs,
    giveUpMs: flags['give-up'] ?? null,
  };
}

function tlsOf(flags: ConnectFlags): ConnectSettings['tls'] {
  const { 'tls-ca': ca, 'tls-certificate': certificate, 'tls-key': key, 'tls-psk': psk } = flags;
  const serverName = flags['tls-server-name'];
  if ((certificate === undefined) !== (key === undefined))
    throw new SgwError('invalid', 'flag-alone', '--tls-certificate and --tls-key belong together', {
      hint: 'Give both, or none.',
    });
  const given = [ca, certificate, psk, serverName].some((one) => one !== undefined);
  if (!flags.tls && !given) return null;
  return {
    ca: absolute(ca),
    certificate: absolute(certificate),
    key: absolute(key),
    psk: absolute(psk),
    serverName: serverName ?? null,
  };
}

const absolute = (file: string | undefined): string | null => (file === undefined ? null : path.resolve(file));
