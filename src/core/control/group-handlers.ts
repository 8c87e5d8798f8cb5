/** The handlers of groups: check the input, then ask the gateway. */
import type { Gateway } from '../gateway/index.ts';
import { quoted, SgwError } from '../kit/index.ts';
import type { Handlers, Input } from '../localapi/index.ts';
import { checkName, checkRef, checkToken } from './validation.ts';

const REPLICAS_MAX = 15;
const WHEN_DEGRADED: readonly unknown[] = ['continue', 'stop'];
const ACKS: readonly unknown[] = ['peer', 'log', 'store'];

export function groupHandlers(gateway: Gateway): Pick<Handlers, Extract<keyof Handlers, `group.${string}`>> {
  return {
    'group.create': async (input, call) => {
      checkName(input.name, 'group');
      checkToken(input.clientToken);
      return await (await gateway.groups()).create(input, call);
    },
    'group.list': async (_input, call) => await (await gateway.groups()).list(call),
    'group.show': async (input, call) => {
      if (input.group !== undefined) checkRef(input.group, 'group');
      return await (await gateway.groups()).show(input, call);
    },
    'group.delete': async (input, call) => {
      checkRef(input.group, 'group');
      return await (await gateway.groups()).delete(input, call);
    },
    'group.add': async (input, call) => {
      checkRef(input.group, 'group');
      checkRef(input.gateway, 'gateway');
      return await (await gateway.groups()).add(input, call);
    },
    'group.remove': async (input, call) => {
      checkRef(input.group, 'group');
      checkRef(input.gateway, 'gateway');
      return await (await gateway.groups()).remove(input, call);
    },
    'group.assign': async (input, call) => {
      checkRef(input.group, 'group');
      checkRef(input.volume, 'volume');
      checkWish(input);
      return await (await gateway.groups()).assign(input, call);
    },
    'group.failover': async (input, call) => {
      checkRef(input.volume, 'volume');
      if (input.to !== undefined) checkRef(input.to, 'gateway');
      return await (await gateway.groups()).failover(input, call);
    },
  };
}

/** @throws invalid `bad-group`, `bad-name`, `bad-reference` */
function checkWish({ holder, replicas, whenDegraded, ack, allowLoss, exportName }: Input<'group.assign'>): void {
  if (holder !== undefined && holder !== null) checkRef(holder, 'gateway');
  if (exportName !== undefined) checkName(exportName, 'export');
  if (replicas !== undefined && !(Number.isSafeInteger(replicas) && replicas >= 0 && replicas <= REPLICAS_MAX))
    throw badGroup(
      `a volume can not have ${quoted(String(replicas))} replicas`,
      `Give 1 to ${String(REPLICAS_MAX)}, or 0 to take it out of the group.`,
    );
  if (whenDegraded !== undefined && !WHEN_DEGRADED.includes(whenDegraded))
    throw badGroup(`${echo(whenDegraded)} is nothing to do when degraded`, 'Give continue or stop.');
  if (ack !== undefined && !ACKS.includes(ack))
    throw badGroup(`${echo(ack)} is nothing that acknowledges in a group`, 'Give peer, log or store.');
  if (allowLoss !== undefined && typeof allowLoss !== 'boolean')
    throw badGroup('whether loss is allowed is neither yes nor no', 'Give true or false.');
}

/** A value as callers gave it, for a message. */
const echo = (value: unknown): string => quoted(typeof value === 'string' ? value : JSON.stringify(value));

const badGroup = (message: string, hint: string): SgwError => new SgwError('invalid', 'bad-group', message, { hint });
