/**
 * The flags and arguments that commands share, and the flags that every command has. Every flag has a
 * variable: global ones `SGW_HOME` and so on, those of a verb `SGW_VOLUME_CREATE_SIZE`.
 */
import { Args, Flags, type Interfaces } from '@oclif/core';
import type { GatewayMode, ImageFormat, PriceTableName } from '../localapi/index.ts';
import { PROGRESS_MODES, type ProgressMode } from './progress.ts';
import {
  checkAccountId,
  checkChoice,
  checkClientToken,
  checkName,
  checkPath,
  checkReference,
  parseDuration,
  parseVolumeSize,
} from './values.ts';

const GLOBAL = 'GLOBAL';
const ENCRYPTED = 'ENCRYPTED STORE';
const SERVICE = 'SERVICE';

const GATEWAY_MODES = ['cached', 'shadowing'] as const;
const PRICE_TABLES = ['aws', 'b2', 'gcs', 'own', 'r2'] as const;
const IMAGE_FORMATS = ['raw', 'qcow2', 'vmdk', 'vhdx', 'vdi'] as const;

/** A file that holds what opens an encrypted store. A secret itself is never the value of a flag: others see those. */
function secretFile(options: { description: string; env: string }): Interfaces.OptionFlag<string | undefined> {
  return Flags.string({
    ...options,
    helpValue: 'FILE',
    helpGroup: ENCRYPTED,
    parse: async (text, _context, flag) => checkPath(text, `--${flag.name}`),
  });
}

/** What every command accepts. */
export const globalFlags = {
  json: Flags.boolean({
    description: 'Print the result, or the error, as one JSON document on standard output.',
    env: 'SGW_JSON',
    allowNo: true,
    helpGroup: GLOBAL,
  }),
  home: Flags.string({
    description: 'Directory that holds the gateway. [default: $XDG_DATA_HOME/sgw]',
    env: 'SGW_HOME',
    helpValue: 'DIR',
    helpGroup: GLOBAL,
    parse: async (text) => checkPath(text, '--home'),
  }),
  account: Flags.string({
    description: 'Account to act for, 12 digits.',
    env: 'SGW_ACCOUNT',
    helpValue: 'ID',
    helpGroup: GLOBAL,
    parse: async (text) => checkAccountId(text),
  }),
  'no-input': Flags.boolean({
    description: 'Never ask; fail when something is missing.',
    env: 'SGW_NO_INPUT',
    helpGroup: GLOBAL,
  }),
  quiet: Flags.boolean({
    char: 'q',
    description: 'No progress and no advice on standard error.',
    env: 'SGW_QUIET',
    helpGroup: GLOBAL,
  }),
  'no-color': Flags.boolean({ description: 'No colours (as does NO_COLOR).', env: 'SGW_NO_COLOR', helpGroup: GLOBAL }),
  progress: Flags.custom<ProgressMode>({
    description: 'How long work shows itself on standard error; plain is a line every 30 s.',
    env: 'SGW_PROGRESS',
    options: [...PROGRESS_MODES],
    default: 'auto',
    helpGroup: GLOBAL,
    parse: async (text) => checkChoice(text, PROGRESS_MODES, '--progress'),
  })(),
  'lock-timeout': Flags.custom<number>({
    description: 'How long to wait for a lock that another process holds. [default: 30s]',
    env: 'SGW_LOCK_TIMEOUT',
    helpValue: 'DURATION',
    default: 30_000,
    defaultHelp: async () => '30s',
    noCacheDefault: true,
    helpGroup: GLOBAL,
    parse: async (text) => parseDuration(text, '--lock-timeout'),
  })(),
  'key-file': secretFile({
    description: 'Key file that opens the store.',
    env: 'SGW_KEY_FILE',
  }),
  'passphrase-file': secretFile({
    description: 'File with the passphrase that opens the store (or set SGW_PASSPHRASE).',
    env: 'SGW_PASSPHRASE_FILE',
  }),
  'recovery-code-file': secretFile({
    description: 'File with the recovery code, when the passphrase or key file is lost.',
    env: 'SGW_RECOVERY_CODE_FILE',
  }),
  service: Flags.string({
    description: 'Service to ask, https://HOST:PORT.',
    env: 'SGW_SERVICE',
    helpValue: 'URL',
    helpGroup: SERVICE,
  }),
  gateway: Flags.string({
    description: 'Gateway of the service to act on, by id or name, in place of the one of the home.',
    env: 'SGW_GATEWAY',
    helpValue: 'GATEWAY',
    helpGroup: SERVICE,
    parse: async (text) => checkReference(text, '--gateway'),
  }),
  'service-ca': Flags.string({
    description: 'Certificate (PEM) of the CA that the service must be from. [default: those that the system trusts]',
    env: 'SGW_SERVICE_CA',
    helpValue: 'FILE',
    helpGroup: SERVICE,
    parse: async (text) => checkPath(text, '--service-ca'),
  }),
  'service-fingerprint': Flags.string({
    description: 'The same by the fingerprint of that certificate, as `service run` prints it.',
    env: 'SGW_SERVICE_FINGERPRINT',
    helpValue: 'sha256:HEX',
    helpGroup: SERVICE,
  }),
  'access-key-id': Flags.string({
    description: 'Access key to ask with; its secret is in SGW_SECRET_ACCESS_KEY, never a flag.',
    env: 'SGW_ACCESS_KEY_ID',
    helpValue: 'ID',
    helpGroup: SERVICE,
  }),
  debug: Flags.boolean({
    description: 'Show where an internal error comes from.',
    env: 'SGW_DEBUG',
    helpGroup: GLOBAL,
  }),
};

/** `json` is undefined when neither `--json` nor `--no-json` was given: then the preference decides. */
export type GlobalFlags = Omit<Interfaces.InferredFlags<typeof globalFlags>, 'json'> & { readonly json?: boolean };

/**
 * Gives each flag of a verb its variable (`size` of `volume create` becomes `SGW_VOLUME_CREATE_SIZE`),
 * and makes switches that are not given false.
 */
export function flagsOf<F extends Record<string, { type: 'boolean' | 'option' }>>(verb: string, flags: F): F {
  const entries = Object.entries(flags).map(([name, flag]) => {
    const variable = `SGW_${verb}_${name}`.toUpperCase().replaceAll(/[^A-Z0-9]/g, '_');
    return [name, { ...flag, env: variable, ...(flag.type === 'boolean' ? { default: false } : {}) }];
  });
  return Object.fromEntries(entries) as F;
}

export const sizeFlag = Flags.custom<number>({
  helpValue: 'SIZE',
  parse: async (text) => parseVolumeSize(text, '--size'),
});

export const nameFlag = Flags.custom({
  helpValue: 'NAME',
  parse: async (text, _context, options) => checkName(text, `--${options.name}`),
});

export const referenceFlag = Flags.custom({
  parse: async (text, _context, options) => checkReference(text, `--${options.name}`),
});

/** A flag that is the path of a directory. */
export const directoryFlag = Flags.custom({
  helpValue: 'DIR',
  parse: async (text, _context, options) => checkPath(text, `--${options.name}`),
});

/** A flag that is the path of a file. */
export const pathFlag = Flags.custom({
  helpValue: 'FILE',
  parse: async (text, _context, options) => checkPath(text, `--${options.name}`),
});

/** Where to write a recovery code instead of showing it. */
export const recoveryFileFlag = Flags.custom({
  description: 'Write the recovery code to this new file, readable by you alone, instead of showing it.',
  helpValue: 'FILE',
  parse: async (text) => checkPath(text, '--recovery-file'),
});

/** A flag that is the id of an account. */
export const accountFlag = Flags.custom({
  helpValue: 'ACCOUNT',
  parse: async (text) => checkAccountId(text),
});

/** `--tag k=v`, many times; read them with `parseTags`. */
export const tagFlag = Flags.custom({
  description: 'Tag to attach; can be given many times.',
  helpValue: 'KEY=VALUE',
  multiple: true,
  multipleNonGreedy: true,
});

export const timeoutFlag = Flags.custom<number>({
  description: 'Give up after this long, with exit code 9.',
  helpValue: 'DURATION',
  parse: async (text) => parseDuration(text, '--timeout'),
});

// A variable's value is not checked against `options` by oclif, so the reader does.
export const formatFlag = Flags.custom<ImageFormat>({
  options: [...IMAGE_FORMATS],
  parse: async (text) => checkChoice(text, IMAGE_FORMATS, '--format'),
});

export const modeFlag = Flags.custom<GatewayMode>({
  options: [...GATEWAY_MODES],
  parse: async (text) => checkChoice(text, GATEWAY_MODES, '--mode'),
});

/** Prices of this program in place of the user's own. */
export const pricesFlag = Flags.custom<PriceTableName>({
  options: [...PRICE_TABLES],
  parse: async (text) => checkChoice(text, PRICE_TABLES, '--prices'),
});

/** The flags of verbs that create. */
export const createFlags = {
  'if-not-exists': Flags.boolean({ description: 'If it exists with the same parameters, return it and succeed.' }),
  'client-token': Flags.string({
    description: 'Token that makes a repeated request the same request.',
    helpValue: 'TOKEN',
    parse: async (text) => checkClientToken(text),
  }),
};

/** `--start` of a verb that needs the daemon. */
export const startFlag = (verb: string): Interfaces.BooleanFlag<boolean> =>
  flagsOf(verb, { start: Flags.boolean({ description: 'Start the gateway in the background if it does not run.' }) })
    .start;

/** Of verbs that ask a service. */
export const allAccountsFlag = Flags.boolean({ description: 'Of all accounts; for whoever runs the service.' });

export const yesFlag = Flags.boolean({ char: 'y', description: 'Do not ask for confirmation.' });
export const dryRunFlag = Flags.boolean({ description: 'Change nothing; only tell what would be done.' });
export const ifExistsFlag = Flags.boolean({ description: 'Succeed if there is no such thing.' });

/** A required argument that names something by id, beginning of an id, or name. */
export const referenceArgument = (name: string, description: string): Interfaces.Arg<string> =>
  Args.string({ required: true, description, ignoreStdin: true, parse: async (text) => checkReference(text, name) });

/** An argument that names something, where all are meant without it. */
export const optionalReference = (name: string, description: string): Interfaces.Arg<string | undefined> =>
  Args.string({ description, ignoreStdin: true, parse: async (text) => checkReference(text, name) });

/** A required argument that gives a new name. */
export const nameArgument = (name: string, description: string): Interfaces.Arg<string> =>
  Args.string({ required: true, description, ignoreStdin: true, parse: async (text) => checkName(text, name) });

/** A required argument that is the path of a file. */
export const pathArgument = (description: string): Interfaces.Arg<string> =>
  Args.string({ required: true, description, ignoreStdin: true, parse: async (text) => checkPath(text, 'FILE') });
