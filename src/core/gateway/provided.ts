/**
 * The configuration that a provider owns, at its gateway (DESIGN section 9): taken when it comes down the held connection or
 * at activation, and asked to be otherwise by the local operator.
 *
 * Invariants: the version in `state.json` is that of the settings beside it, which change with it in one write; a version
 * that can't be served is in force in no part, and the one before goes on; an older one than is there changes nothing.
 */
import { SgwError, toSgwError } from '../kit/index.ts';
import type { CallContext, Input } from '../localapi/index.ts';
import {
  DEFAULT_PROVIDED_SERVING,
  type ConfigurationChanges,
  type ConfigurationReceipt,
  type ConfigurationRequest,
  type GatewayConfiguration,
  type ProvidedServing,
} from '../protocol/index.ts';
import { openState, updateState, type GatewayState, type ProvidedState, type ServingSettings } from '../state/index.ts';
import type { GatewayParts } from './parts.ts';
import { notActivated } from './session.ts';
import { changedSettings, requirePossible } from './serving/configure.ts';

type Names = readonly (keyof ProvidedServing)[];
const SETTINGS = Object.keys(DEFAULT_PROVIDED_SERVING) as unknown as Names;

/** What of the settings is not the local operator's, by the names of `sgw configure`. */
type Owned = Pick<Input<'configure'>, 'name' | keyof ProvidedServing>;

/** Whether a provider owns the configuration. */
export const isProvided = ({ service }: Pick<GatewayState, 'service'>): boolean => service !== undefined;

export const providedState = ({ provided }: Pick<GatewayState, 'provided'>): ProvidedState =>
  provided ?? { version: 0, request: null, answer: null };

interface Taking {
  readonly parts: Pick<GatewayParts, 'home'>;
  /** Applies the settings of serving where a daemon runs. @throws when they can't be served */
  readonly reload: () => Promise<readonly string[]>;
}

/**
 * Puts a version in force, where possible at once. Durable when it resolves. Never fails for what can't be done: the receipt
 * says that. @throws conflict `not-activated`; unsupported `operator-owned`
 */
export async function takeConfiguration(
  { parts: { home }, reload }: Taking,
  configuration: GatewayConfiguration,
  call: Pick<CallContext, 'signal' | 'lockTimeoutMs'>,
): Promise<ConfigurationReceipt> {
  const { gateway: before } = await openState(home);
  if (before === null) throw notActivated(home);
  if (!isProvided(before)) throw operatorOwned();
  const { version } = configuration;
  const present = providedState(before).version;
  if (version <= present) return { version, appliedVersion: present, failure: null };
  const options = { lockTimeoutMs: call.lockTimeoutMs, signal: call.signal };
  try {
    const serving = { ...before.serving, ...checkedServing(configuration, before) };
    await requirePossible(home, before.serving, serving);
    const kept = await updateState(home, ({ gateway }) => put(gateway, configuration), options);
    if (!kept) return await takeConfiguration({ parts: { home }, reload }, configuration, call);
    if (changedSettings(before.serving, serving).length > 0)
      await reloadOr(reload, () => undo(home, before, configuration));
    return { version, appliedVersion: version, failure: null };
  } catch (error) {
    const { kind, code, message, hint } = toSgwError(error);
    if (kind === 'aborted') throw error;
    return { version, appliedVersion: present, failure: { code, message, hint: hint ?? null } };
  }
}

/** False when another version came first. */
function put(gateway: GatewayState | null, configuration: GatewayConfiguration): boolean {
  if (gateway === null || providedState(gateway).version >= configuration.version) return false;
  const { name, region, version, answer } = configuration;
  const { request } = providedState(gateway);
  // The service takes up what is pending in a later request, so one that was answered leaves nothing of it.
  const isAnswered = request !== null && answer?.requestId === request.requestId;
  Object.assign(gateway, { name, region, provided: { version, request: isAnswered ? null : request, answer } });
  Object.assign(gateway.serving, checkedServing(configuration, gateway));
  gateway.configurationVersion += 1;
  return true;
}

async function reloadOr(reload: () => Promise<readonly string[]>, undoing: () => Promise<void>): Promise<void> {
  try {
    await reload();
  } catch (error) {
    // What can't be served is not kept.
    await undoing();
    await reload().catch(() => undefined);
    throw error;
  }
}

/** Also when the call is over: half of a version is none. Settings that are not the provider's stay as they are by now. */
async function undo(home: string, before: GatewayState, { version }: GatewayConfiguration): Promise<void> {
  await updateState(home, ({ gateway }) => {
    if (gateway === null || providedState(gateway).version !== version) return;
    const { name, region, provided } = before;
    Object.assign(gateway, { name, region });
    if (provided === undefined) delete gateway.provided;
    else gateway.provided = provided;
    Object.assign(gateway.serving, pick(before.serving));
    gateway.configurationVersion += 1;
  });
}

const pick = (serving: ServingSettings): ProvidedServing =>
  Object.fromEntries(SETTINGS.map((name) => [name, serving[name]])) as unknown as ProvidedServing;

/** What is known here of the settings; a newer service may say more. @throws conflict `mode-fixed`; invalid `bad-setting` */
function checkedServing({ mode, serving }: GatewayConfiguration, now: GatewayState): ProvidedServing {
  if (mode !== now.mode) throw modeFixed(now);
  for (const name of SETTINGS) {
    const value: unknown = serving[name];
    const isGood =
      name === 'listExports'
        ? typeof value === 'boolean'
        : value === null ||
          (name === 'defaultExport'
            ? typeof value === 'string' && value !== ''
            : Number.isSafeInteger(value) && (value as number) >= 0);
    if (!isGood)
      throw new SgwError('invalid', 'bad-setting', `the service gave no possible ${name}`, {
        details: { setting: name },
      });
  }
  return Object.fromEntries(SETTINGS.map((name) => [name, serving[name]])) as unknown as ProvidedServing;
}

/**
 * Parts what the local operator may set himself from what he has to ask the provider for, of which only what is not so.
 * @throws conflict `mode-fixed`
 */
export function partWishes(
  record: GatewayState,
  input: Input<'configure'>,
): { readonly own: Input<'configure'>; readonly asked: ConfigurationChanges | undefined } {
  if (!isProvided(record)) return { own: input, asked: undefined };
  const { name, mode, ...rest } = input;
  if (mode !== undefined && mode !== record.mode) throw modeFixed(record);
  const own = Object.fromEntries(Object.entries(rest).filter(([setting]) => !isOwned(setting))) as Input<'configure'>;
  const serving = Object.fromEntries(
    SETTINGS.flatMap((setting) =>
      rest[setting] === undefined || rest[setting] === record.serving[setting] ? [] : [[setting, rest[setting]]],
    ),
  ) as Partial<ProvidedServing>;
  const asked = {
    ...(name === undefined || name === record.name ? {} : { name }),
    ...(Object.keys(serving).length === 0 ? {} : { serving }),
  };
  return { own, asked: Object.keys(asked).length === 0 ? undefined : asked };
}

const isOwned = (setting: string): boolean => SETTINGS.some((name) => name === setting);

/** Keeps what was asked for, to show it. Durable when it resolves. */
export async function noteRequest(
  home: string,
  { requestId, requestedAt, changes }: ConfigurationRequest,
  call: Pick<CallContext, 'signal' | 'lockTimeoutMs'>,
): Promise<void> {
  const { serving = {}, ...names } = changes;
  const settings: Owned = { ...names, ...serving };
  await updateState(
    home,
    ({ gateway }) => {
      if (gateway === null) return;
      const present = providedState(gateway);
      // The answer was faster.
      if (present.answer?.requestId === requestId) return;
      gateway.provided = { ...present, request: { requestId, requestedAt, settings: { ...settings } } };
    },
    { lockTimeoutMs: call.lockTimeoutMs, signal: call.signal },
  );
}

const modeFixed = ({ gatewayId, mode }: GatewayState): SgwError =>
  new SgwError(
    'conflict',
    'mode-fixed',
    `gateway ${gatewayId} was activated over the network as ${mode}, and stays so`,
    {
      hint: 'Activate a gateway of the other mode in another home.',
      details: { gatewayId, mode },
    },
  );

const operatorOwned = (): SgwError =>
  new SgwError('unsupported', 'operator-owned', "the configuration of this gateway is its own operator's", {
    hint: 'Change it at the gateway: sgw configure',
  });
