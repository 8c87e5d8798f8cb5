/**
 * The flags about iSCSI: what a volume is served over, and who may log in. Secrets of CHAP come from a file, a variable or a
 * question without echo, never from an argument, which others see.
 */
import { Flags, type Interfaces } from '@oclif/core';
import {
  checkChapDirections,
  checkChapSecret,
  checkChapUser,
  checkInitiatorName,
  checkTargetName,
  isCommonChapSecret,
} from '../kit/index.ts';
import type { ChapCredentials, Input, Protocol } from '../localapi/index.ts';
import { readSecretFile } from './secret-files.ts';
import type { SecretSurroundings } from './secrets.ts';
import { checkChoice, checkPath, given, requireWith } from './values.ts';

const PROTOCOLS = ['nbd', 'iscsi'] as const;
/** What they are under in help. */
export const ISCSI_GROUP = 'ISCSI';

const userFlag = (description: string): Interfaces.OptionFlag<string | undefined> =>
  Flags.string({
    description,
    helpValue: 'USER',
    helpGroup: ISCSI_GROUP,
    parse: async (text) => checkChapUser(text),
  });

/** A file that holds a secret of CHAP. */
export const chapSecretFileFlag = (description: string): Interfaces.OptionFlag<string | undefined> =>
  Flags.string({
    description,
    helpValue: 'FILE',
    helpGroup: ISCSI_GROUP,
    parse: async (text, _context, options) => checkPath(text, `--${options.name}`),
  });

/** How what is attached is served. */
export const iscsiFlags = {
  protocol: Flags.custom<Protocol[]>({
    description: 'What it is served over: nbd (default), iscsi, or nbd,iscsi.',
    helpValue: 'PROTOCOLS',
    parse: async (text) => text.split(',').map((one) => checkChoice(one, PROTOCOLS, '--protocol')),
  })(),
  chap: userFlag('Only who proves by CHAP to be this user may log in. The secret is asked for.'),
  'chap-secret-file': chapSecretFileFlag('File with its secret, 12 to 16 bytes (or set SGW_CHAP_SECRET).'),
  'chap-target': userFlag('The target proves to initiators to be this user (mutual CHAP).'),
  'chap-target-secret-file': chapSecretFileFlag('File with its secret, another one (or set SGW_CHAP_TARGET_SECRET).'),
  initiator: Flags.custom({
    description: 'Name of an initiator that may log in; many times. [default: any]',
    helpValue: 'IQN',
    helpGroup: ISCSI_GROUP,
    multiple: true,
    multipleNonGreedy: true,
  })(),
  'target-name': Flags.string({
    description: 'Name of the target. [default: made of the id and the name]',
    helpValue: 'IQN',
    helpGroup: ISCSI_GROUP,
    parse: async (text) => checkTargetName(text),
  }),
};

type IscsiFlags = Interfaces.InferredFlags<typeof iscsiFlags>;
type Attaching = Pick<Input<'volume.attach'>, 'protocols' | 'iscsi'>;

/** The first of these flags that was given. */
export const firstIscsiFlag = (flags: IscsiFlags): string | undefined =>
  Object.keys(iscsiFlags).find((name) => flags[name as keyof IscsiFlags] !== undefined);

/**
 * How the flags want something to be served; asks for secrets.
 * @throws invalid `flag-alone`, `bad-chap-secret`, `input-needed`, `bad-iscsi-name`, `bad-secret-file`
 */
export async function iscsiWishes(flags: IscsiFlags, surroundings: SecretSurroundings): Promise<Attaching> {
  const { protocol, chap, initiator } = flags;
  const chapTarget = flags['chap-target'];
  const isOverIscsi = protocol?.includes('iscsi') === true;
  for (const name of ['chap', 'chap-target', 'target-name'] as const)
    requireWith(`--${name}`, flags[name], '--protocol iscsi', isOverIscsi);
  requireWith('--initiator', initiator?.[0], '--protocol iscsi', isOverIscsi);
  requireWith('--chap-secret-file', flags['chap-secret-file'], '--chap USER', chap !== undefined);
  requireWith('--chap-target', chapTarget, '--chap USER', chap !== undefined);
  requireWith(
    '--chap-target-secret-file',
    flags['chap-target-secret-file'],
    '--chap-target USER',
    chapTarget !== undefined,
  );
  if (!isOverIscsi) return given({ protocols: protocol });
  // A variable holds all of them, with commas between.
  const names = typeof initiator === 'string' ? (initiator as string).split(',') : initiator;
  const initiators = names?.map(checkInitiatorName);
  const forInitiators = await credentials(chap, INITIATORS, flags['chap-secret-file'], surroundings);
  const forTarget = await credentials(chapTarget, TARGET, flags['chap-target-secret-file'], surroundings);
  if (forInitiators !== undefined && forTarget !== undefined)
    checkChapDirections(forInitiators.secret, forTarget.secret);
  return {
    protocols: protocol,
    iscsi: given({ targetName: flags['target-name'], chap: forInitiators, chapTarget: forTarget, initiators }),
  };
}

interface Way {
  readonly flag: string;
  readonly variable: string;
}
const INITIATORS: Way = { flag: '--chap-secret-file', variable: 'SGW_CHAP_SECRET' };
const TARGET: Way = { flag: '--chap-target-secret-file', variable: 'SGW_CHAP_TARGET_SECRET' };
const DISCOVERY: Way = { flag: '--iscsi-discovery-secret-file', variable: 'SGW_CHAP_SECRET' };

/** What discovery sessions prove themselves with, for a user that was given. @throws as `iscsiWishes` */
export async function discoverySecret(
  user: string | null | undefined,
  file: string | undefined,
  surroundings: SecretSurroundings,
): Promise<Pick<Input<'configure'>, 'iscsiDiscoverySecret'>> {
  requireWith(DISCOVERY.flag, file, '--iscsi-discovery-chap USER', typeof user === 'string');
  const known = await credentials(user ?? undefined, DISCOVERY, file, surroundings);
  return known === undefined ? {} : { iscsiDiscoverySecret: known.secret };
}

async function credentials(
  user: string | undefined,
  way: Way,
  file: string | undefined,
  surroundings: SecretSurroundings,
): Promise<ChapCredentials | undefined> {
  if (user === undefined) return undefined;
  const { env, say } = surroundings;
  const inVariable = env[way.variable] ?? '';
  const known = file === undefined ? inVariable : await readSecretFile(file, say);
  if (known !== '') checkChapSecret(known);
  const secret = known === '' ? await askSecret(user, way, surroundings) : known;
  if (!isCommonChapSecret(secret))
    await say(`note: the secret of ${user} has more than 16 bytes; Windows takes no such secret`);
  return { user, secret };
}

/** A slip is no matter of the next login. */
async function askSecret(user: string, { flag, variable }: Way, { prompts, say }: SecretSurroundings): Promise<string> {
  const ways = `${flag} FILE, or the variable ${variable},`;
  for (;;) {
    const secret = await prompts.secret({
      message: `Secret of CHAP user ${user}:`,
      flag: ways,
      check: checkChapSecret,
    });
    const again = await prompts.secret({ message: 'The same again:', flag: ways, check: () => undefined });
    if (again === secret) return secret;
    await say('The secrets differ. Type both again, or press Ctrl-C.');
  }
}
