/** What a provider, or an operator who asks it, may want of a gateway. */
import { GIB, MIB, SgwError, TIB, problemOfName, quoted } from '../../kit/index.ts';
import { DEFAULT_PROVIDED_SERVING, type ConfigurationChanges, type ProvidedServing } from '../../protocol/index.ts';

const REGION = /^[a-z0-9-]{1,64}$/;
const DAY_MS = 24 * 60 * 60 * 1000;

/** From, to: the same that a gateway takes of its own operator. */
const RANGES: Readonly<Record<Exclude<keyof ProvidedServing, 'listExports' | 'defaultExport'>, [number, number]>> = {
  cacheBytes: [0, 16 * TIB],
  cacheRamBytes: [0, TIB],
  bufferBytes: [64 * MIB, 16 * TIB],
  sealIntervalMs: [100, DAY_MS],
  readAheadBytes: [0, GIB],
};

const isProvided = (name: string): name is keyof ProvidedServing => Object.hasOwn(DEFAULT_PROVIDED_SERVING, name);

/** @throws invalid `bad-message`, `bad-name`, `bad-region`, `bad-setting` */
export function checkChanges(changes: ConfigurationChanges): void {
  const { name, region, serving = {}, ...rest } = requireObject(changes) as ConfigurationChanges;
  const [stray] = Object.keys(rest);
  if (stray !== undefined) throw badSetting(stray, 'it is not a setting of the provider');
  if (name !== undefined) checkName(name, 'gateway');
  if (region !== undefined && !(typeof region === 'string' && REGION.test(region)))
    throw new SgwError('invalid', 'bad-region', 'the region is none', {
      hint: 'A region has up to 64 small letters, digits and "-".',
    });
  for (const [setting, value] of Object.entries(requireObject(serving))) {
    if (!isProvided(setting)) throw badSetting(setting, 'it is not a setting of the provider');
    checkSetting(setting, value);
  }
}

function checkSetting(setting: keyof ProvidedServing, value: unknown): void {
  if (setting === 'listExports') {
    if (typeof value !== 'boolean') throw badSetting(setting, 'it is true or false');
  } else if (value === null) {
    return;
  } else if (setting === 'defaultExport') {
    checkName(value, 'export');
  } else {
    const [min, max] = RANGES[setting];
    const isInside = Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= max;
    if (!isInside) throw badSetting(setting, `it is a whole number from ${String(min)} to ${String(max)}, or null`);
  }
}

function checkName(name: unknown, what: string): void {
  const problem = typeof name === 'string' ? problemOfName(name) : 'is none';
  if (problem !== undefined) throw new SgwError('invalid', 'bad-name', `the name of the ${what} ${problem}`);
}

function requireObject(value: unknown): object {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value;
  throw new SgwError('invalid', 'bad-message', 'what is to be changed is no object');
}

const badSetting = (setting: string, why: string): SgwError =>
  new SgwError('invalid', 'bad-setting', `${quoted(setting.slice(0, 64))} can not be set so: ${why}`, {
    details: { setting: setting.slice(0, 64) },
  });
