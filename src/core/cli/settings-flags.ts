/** The flags of `configure` about serving, and the settings that they add up to. `default` makes a setting the default again. */
import { Flags, type Interfaces } from '@oclif/core';
import { checkChapUser, parseSize } from '../kit/index.ts';
import type { Input } from '../localapi/index.ts';
import { gatewayPath } from './gateway-path.ts';
import { ISCSI_GROUP, chapSecretFileFlag, discoverySecret } from './iscsi-flags.ts';
import type { SecretSurroundings } from './secrets.ts';
import { checkChoice, checkName, checkPath, given, parseDuration } from './values.ts';

const DEFAULT = 'default';
const TLS_MODES = ['off', 'on', 'require'] as const;

type Wish<T> = { readonly value: T | null } | undefined;

const orDefault = <T>(
  description: string,
  helpValue: string,
  parse: (text: string, what: string) => T,
  helpGroup?: string,
): Interfaces.OptionFlag<Wish<T>> =>
  Flags.custom<{ readonly value: T | null }>({
    description,
    helpValue,
    ...(helpGroup === undefined ? {} : { helpGroup }),
    parse: async (text, _context, options) => ({
      value: text === DEFAULT ? null : parse(text, `--${options.name}`),
    }),
  })();

const file = (text: string, what: string): string => gatewayPath(checkPath(text, what));

export const servingFlags = {
  listen: Flags.string({
    description:
      'Where to serve NBD: tcp:HOST:PORT beside the socket in the home, unix:PATH in its place, default; many times. Replaces all.',
    helpValue: 'PLACE',
    multiple: true,
    multipleNonGreedy: true,
  }),
  tls: Flags.custom<(typeof TLS_MODES)[number]>({
    description: 'TLS over TCP: off, on when the client asks, or require.',
    options: [...TLS_MODES],
    parse: async (text) => checkChoice(text, TLS_MODES, '--tls'),
  })(),
  'tls-certificate': orDefault('PEM file with the certificate of the server.', 'FILE', file),
  'tls-key': orDefault('PEM file with its private key.', 'FILE', file),
  'tls-ca': orDefault('PEM file of who signs the certificates that clients must show.', 'FILE', file),
  'tls-psk': orDefault('File of pre-shared keys, USER:HEX a line.', 'FILE', file),
  'list-exports': Flags.custom<boolean>({
    description: 'Whether clients may list exports.',
    options: ['yes', 'no'],
    parse: async (text) => checkChoice(text, ['yes', 'no'], '--list-exports') === 'yes',
  })(),
  'default-export': orDefault('Export of clients that name none; default: none.', 'NAME', checkName),
  'iscsi-listen': Flags.string({
    description:
      'Portal for iSCSI, tcp:HOST:PORT; many times; default: tcp:127.0.0.1:3260 while something is served over iSCSI. Replaces all.',
    helpValue: 'PLACE',
    helpGroup: ISCSI_GROUP,
    multiple: true,
    multipleNonGreedy: true,
  }),
  'iscsi-portal': Flags.string({
    description: 'Address of a portal that initiators are told of, where it is another one; many times. Replaces all.',
    helpValue: 'HOST:PORT',
    helpGroup: ISCSI_GROUP,
    multiple: true,
    multipleNonGreedy: true,
  }),
  'iscsi-discovery-chap': orDefault(
    'Only who proves by CHAP to be this user may ask what targets there are; default: anybody may.',
    'USER',
    checkChapUser,
    ISCSI_GROUP,
  ),
  'iscsi-discovery-secret-file': chapSecretFileFlag('File with its secret (or set SGW_CHAP_SECRET).'),
  cache: orDefault(
    'Size of the cache on disk, such as 20GiB; default: 10 GiB, or a tenth of what is free.',
    'SIZE',
    parseSize,
  ),
  'cache-ram': orDefault('Size of the cache in memory.', 'SIZE', parseSize),
  buffer: orDefault('Upload buffer of each volume; default: 2 GiB, or a tenth of what is free.', 'SIZE', parseSize),
  'seal-interval': orDefault(
    'What is written is sent to the store at the latest after this.',
    'DURATION',
    parseDuration,
  ),
  'read-ahead': orDefault('How much is read ahead of a sequential reader; 0: nothing.', 'SIZE', parseSize),
};

/** Settings of a member of a group. */
export const memberFlags = {
  'peer-listen': orDefault(
    'Where members of its group connect to this gateway; default: a port of this machine alone.',
    'HOST:PORT',
    checkPath,
  ),
  'on-takeover': orDefault(
    'Program that is run once a volume that was taken over is served here; default: none. Only on the spot.',
    'FILE',
    file,
  ),
};

type MemberFlags = Interfaces.InferredFlags<typeof memberFlags>;

/** What `configure` is to be asked for of them. */
export const memberWishes = (flags: MemberFlags): Input<'configure'> =>
  given({ peerListen: flags['peer-listen']?.value, onTakeover: flags['on-takeover']?.value });

type ServingFlags = Interfaces.InferredFlags<typeof servingFlags>;

/** A variable holds all of them, with commas between. */
const listOf = (flag: string[] | undefined): string[] | undefined =>
  typeof flag === 'string' ? (flag as string).split(',') : flag;

/** What the operation `configure` is to be asked for; asks for a secret that goes with it. */
export async function servingWishes(
  flags: ServingFlags,
  surroundings: SecretSurroundings,
): Promise<Input<'configure'>> {
  const wish = <T>(flag: Wish<T>): T | null | undefined => flag?.value;
  const iscsiDiscoveryUser = wish(flags['iscsi-discovery-chap']);
  return given({
    listen: listOf(flags.listen),
    iscsiListen: listOf(flags['iscsi-listen']),
    iscsiPortals: listOf(flags['iscsi-portal']),
    iscsiDiscoveryUser,
    ...(await discoverySecret(iscsiDiscoveryUser, flags['iscsi-discovery-secret-file'], surroundings)),
    tls: flags.tls,
    tlsCertificate: wish(flags['tls-certificate']),
    tlsKey: wish(flags['tls-key']),
    tlsCa: wish(flags['tls-ca']),
    tlsPsk: wish(flags['tls-psk']),
    listExports: flags['list-exports'],
    defaultExport: wish(flags['default-export']),
    cacheBytes: wish(flags.cache),
    cacheRamBytes: wish(flags['cache-ram']),
    bufferBytes: wish(flags.buffer),
    sealIntervalMs: wish(flags['seal-interval']),
    readAheadBytes: wish(flags['read-ahead']),
  });
}
