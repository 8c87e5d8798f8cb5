/** One handler for each operation of the local API: checks the input, then asks the gateway. */
import { daemonNeeded, type Gateway, type Reads } from '../gateway/index.ts';
import { SgwError } from '../kit/index.ts';
import type { Handlers, Input, Tags } from '../localapi/index.ts';
import { groupHandlers } from './group-handlers.ts';
import { checkInitiatorChap, checkProtocols } from './iscsi-checks.ts';
import type { GatewayProcess } from './process.ts';
import { checkSchedule } from './schedule-checks.ts';
import {
  checkAck,
  checkBandwidth,
  checkMemberSettings,
  checkServingWishes,
  checkVolumeSettings,
} from './serving-checks.ts';
import {
  checkAccountId,
  checkDescription,
  checkFormat,
  checkGrace,
  checkLogQuestion,
  checkMode,
  checkName,
  checkPath,
  checkPrices,
  checkRate,
  checkRef,
  checkRegion,
  checkSize,
  checkTags,
  checkTime,
  checkTimeout,
  checkToken,
} from './validation.ts';

/**
 * The handlers over `gateway`, and over the daemon's process where there is one. Total: a new operation of the contract
 * does not compile without one.
 */
export function createHandlers(gateway: Gateway, running?: GatewayProcess): Handlers {
  return {
    ...gatewayHandlers(gateway),
    ...activationHandlers(gateway),
    ...processHandlers(gateway, running),
    ...volumeHandlers(gateway),
    ...snapshotHandlers(gateway),
    ...createReadHandlers(gateway),
    'bandwidth.set': async (input, call) => {
      checkBandwidth(input);
      return await gateway.setBandwidth(input, call);
    },
    'bandwidth.show': async () => await gateway.showBandwidth(),
    'bandwidth.remove': async (_input, call) => await gateway.removeBandwidth(call),
    ...scheduleHandlers(gateway),
    ...groupHandlers(gateway),
    ...serviceHandlers(gateway),
  };
}

type ReadName =
  | 'volume.list'
  | 'volume.show'
  | 'recovery-point.list'
  | 'snapshot.list'
  | 'snapshot.show'
  | 'snapshot.export'
  | 'snapshot.verify'
  | 'store.copy';

/** The handlers of what a store alone answers as well. */
export function createReadHandlers(reads: Reads): Pick<Handlers, ReadName> {
  return {
    'volume.list': async (input, call) => await reads.listVolumes(input, call),
    'volume.show': async (input, call) => {
      checkRef(input.volume, 'volume');
      return await reads.showVolume(input, call);
    },
    'recovery-point.list': async (input, call) => {
      checkRef(input.volume, 'volume');
      return await reads.listRecoveryPoints(input, call);
    },
    'snapshot.list': async (input, call) => {
      if (input.volume !== undefined) checkRef(input.volume, 'volume');
      return await reads.listSnapshots(input, call);
    },
    'snapshot.show': async (input, call) => {
      checkRef(input.snapshot, 'snapshot');
      return await reads.showSnapshot(input, call);
    },
    'snapshot.export': async (input, call) => {
      checkRef(input.snapshot, 'snapshot');
      checkPath(input.path, 'the image to write');
      checkFormat(input.format);
      return await reads.exportSnapshot(input, call);
    },
    'snapshot.verify': async (input, call) => {
      checkRef(input.snapshot, 'snapshot');
      return await reads.verifySnapshot(input, call);
    },
    'store.copy': async (input, call) => {
      checkPath(input.from, 'a store');
      checkPath(input.to, 'a store');
      return await reads.copyStore(input, call);
    },
  };
}

type Group<Prefix extends string> = Pick<Handlers, Extract<keyof Handlers, `${Prefix}.${string}`>>;

function gatewayHandlers(
  gateway: Gateway,
): Pick<Handlers, 'activate' | 'deactivate' | 'status' | 'doctor' | 'volume.recover-log' | 'configure'> &
  Omit<Group<'store'>, ReadName> {
  return {
    activate: async (input, call) => {
      if (input.name !== undefined) checkName(input.name, 'gateway');
      if (input.mode !== undefined) checkMode(input.mode);
      checkRegion(input.region);
      if (input.store !== undefined) checkPath(input.store, 'a store');
      return await gateway.activate(input, call);
    },
    deactivate: async (_input, call) => await gateway.deactivate(call),
    status: async (_input, call) => await gateway.status(call),
    doctor: async (_input, call) => await gateway.doctor(call),
    'volume.recover-log': async (input, call) => {
      checkRef(input.volume, 'volume');
      checkName(input.into, 'volume');
      if (input.log !== undefined) checkPath(input.log, 'a write log');
      return await gateway.recoverLog(input, call);
    },
    configure: async (input, call) => {
      if (input.name !== undefined) checkName(input.name, 'gateway');
      if (input.mode !== undefined) checkMode(input.mode);
      if (input.store !== undefined) checkPath(input.store, 'a store');
      checkServingWishes(input);
      checkMemberSettings(input);
      return await gateway.configure(input, call);
    },
    'store.check': async (input, call) => {
      if (input.store !== undefined) checkPath(input.store, 'a store');
      return await gateway.checkStore(input, call);
    },
    'store.stats': async (input, call) => {
      if (input.volume !== undefined) checkRef(input.volume, 'volume');
      checkPrices(input.prices);
      return await gateway.storeStats(input, call);
    },
    'store.gc': async (input, call) => {
      checkGrace(input.graceMs);
      return await gateway.collectGarbage(input, call);
    },
    'store.scrub': async (input, call) => await gateway.scrubStore(input, call),
    'store.rekey': async (input, call) => await gateway.rekeyStore(input, call),
  };
}

function activationHandlers(gateway: Gateway): Group<'activation'> {
  return {
    'activation.begin': async (input, call) => {
      if (input.name !== undefined) checkName(input.name, 'gateway');
      if (input.mode !== undefined) checkMode(input.mode);
      checkRegion(input.region);
      if (input.store !== undefined) checkPath(input.store, 'a store');
      return await gateway.beginActivation(input, call);
    },
    'activation.await': async (input, call) => await gateway.awaitActivation(input, call),
    'activation.finish': async (input, call) => {
      checkAccountId(input.accountId);
      return await gateway.finishActivation(input, call);
    },
    'activation.withdraw': async (_input, call) => await gateway.withdrawActivation(call),
  };
}

function processHandlers(gateway: Gateway, running: GatewayProcess | undefined): Group<'gateway'> {
  const required = (what: string): GatewayProcess => {
    if (running === undefined) throw daemonNeeded(what);
    return running;
  };
  return {
    'gateway.show': async (_input, call) => await required('showing what is served').show(call),
    'gateway.stop': async (input, call) => {
      checkTimeout(input.timeoutMs);
      return await required('stopping the gateway').stop(input, call);
    },
    'gateway.logs': async (input) => {
      checkLogQuestion(input);
      return await required('reading its log').logs(input);
    },
    'gateway.metrics': async () => await required('reading its metrics').metrics(),
    'gateway.reload': async (_input, call) => await required('reading the configuration again').reload(call),
    'gateway.suspend': async (_input, call) => await gateway.suspend(call),
    'gateway.reset-cache': async (_input, call) => await gateway.resetCache(call),
    'gateway.resume': async (_input, call) => await gateway.resume(call),
  };
}

function scheduleHandlers(gateway: Gateway): Group<'schedule'> {
  return {
    'schedule.set': async (input, call) => {
      checkRef(input.volume, 'volume');
      checkSchedule(input);
      return await gateway.setSchedule(input, call);
    },
    'schedule.show': async (input, call) => {
      if (input.volume !== undefined) checkRef(input.volume, 'volume');
      return await gateway.showSchedules(input, call);
    },
    'schedule.remove': async (input, call) => {
      checkRef(input.volume, 'volume');
      return await gateway.removeSchedule(input, call);
    },
  };
}

function serviceHandlers(gateway: Gateway): Group<'service'> {
  return {
    'service.account.create': async (input, call) => {
      checkCreation(input.name, 'account', input);
      if (input.accountId !== undefined) checkAccountId(input.accountId);
      return await gateway.createAccount(input, call);
    },
    'service.account.list': async (_input, call) => await gateway.listAccounts(call),
  };
}

function volumeHandlers(gateway: Gateway): Omit<Group<'volume'>, 'volume.recover-log' | ReadName> {
  return {
    'volume.create': async (input, call) => {
      checkCreation(input.name, 'volume', input);
      if (input.sizeBytes !== undefined) checkSize(input.sizeBytes);
      if (input.fromSnapshot !== undefined) checkRef(input.fromSnapshot, 'snapshot');
      if (input.fromVolume !== undefined) checkRef(input.fromVolume, 'volume');
      if (input.recoveryPoint !== undefined) checkTime(input.recoveryPoint);
      if (input.fromSnapshot !== undefined && input.fromVolume !== undefined) throw twoSources();
      return await gateway.createVolume(input, call);
    },
    'volume.import': async (input, call) => {
      checkPath(input.file, 'an image');
      checkFormat(input.format);
      if ((input.name === undefined) === (input.into === undefined)) throw oneTarget();
      if (input.into !== undefined) checkRef(input.into, 'volume');
      checkCreation(input.name, 'volume', input);
      return await gateway.importVolume(input, call);
    },
    'volume.resize': async (input, call) => {
      checkRef(input.volume, 'volume');
      checkSize(input.sizeBytes);
      return await gateway.resizeVolume(input, call);
    },
    'volume.rename': async (input, call) => {
      checkRef(input.volume, 'volume');
      checkName(input.name, 'volume');
      return await gateway.renameVolume(input, call);
    },
    'volume.delete': async (input, call) => {
      checkRef(input.volume, 'volume');
      return await gateway.deleteVolume(input, call);
    },
    'volume.undelete': async (input, call) => {
      checkRef(input.volume, 'volume');
      return await gateway.undeleteVolume(input, call);
    },
    'volume.attach': async (input, call) => {
      checkAttached(input);
      if (input.exportName !== undefined) checkName(input.exportName, 'export');
      checkAck(input.ack);
      checkProtocols(input);
      if (input.recoveryPoint !== undefined) checkTime(input.recoveryPoint);
      return await gateway.attachVolume(input, call);
    },
    'volume.detach': async (input, call) => {
      checkRef(input.volume, 'volume');
      return await gateway.detachVolume(input, call);
    },
    'volume.chap': async (input, call) => {
      checkRef(input.volume, 'volume');
      checkInitiatorChap(input);
      return await gateway.changeChap(input, call);
    },
    'volume.configure': async (input, call) => {
      checkRef(input.volume, 'volume');
      checkVolumeSettings(input);
      return await gateway.configureVolume(input, call);
    },
    'volume.map': async (input, call) => {
      checkRef(input.volume, 'volume');
      return await gateway.mapVolume(input, call);
    },
    'volume.verify': async (input, call) => {
      checkRef(input.volume, 'volume');
      return await gateway.verifyVolume(input, call);
    },
  };
}

function snapshotHandlers(gateway: Gateway): Omit<Group<'snapshot'>, ReadName> {
  return {
    'snapshot.create': async (input, call) => {
      checkRef(input.volume, 'volume');
      checkCreation(input.name, 'snapshot', input);
      checkDescription(input.description);
      if (input.recoveryPoint !== undefined) checkTime(input.recoveryPoint);
      return await gateway.createSnapshot(input, call);
    },
    'snapshot.rename': async (input, call) => {
      checkRef(input.snapshot, 'snapshot');
      checkName(input.name, 'snapshot');
      return await gateway.renameSnapshot(input, call);
    },
    'snapshot.diff': async (input, call) => {
      checkRef(input.from, 'snapshot');
      checkRef(input.to, 'snapshot');
      return await gateway.diffSnapshots(input, call);
    },
    'snapshot.restore': async (input, call) => {
      checkRef(input.snapshot, 'snapshot');
      checkPath(input.image, 'the image to restore to');
      if (input.exportName !== undefined) checkName(input.exportName, 'export');
      if (input.targetName !== undefined)
        checkProtocols({ volume: '', protocols: ['iscsi'], iscsi: { targetName: input.targetName } });
      if (input.rateBytes !== undefined) checkRate(input.rateBytes);
      if (input.recoveryPoint !== undefined) checkTime(input.recoveryPoint);
      return await gateway.restoreSnapshot(input, call);
    },
    'snapshot.import': async (input, call) => {
      checkPath(input.file, 'an image');
      checkFormat(input.format);
      checkCreation(input.name, 'snapshot', input);
      checkName(input.volumeName ?? input.name, 'volume');
      checkDescription(input.description);
      return await gateway.importSnapshot(input, call);
    },
    'snapshot.delete': async (input, call) => {
      checkRef(input.snapshot, 'snapshot');
      return await gateway.deleteSnapshot(input, call);
    },
    'snapshot.share': async (input, call) => {
      checkRef(input.snapshot, 'snapshot');
      checkAccountId(input.accountId);
      return await gateway.shareSnapshot(input, call);
    },
    'snapshot.unshare': async (input, call) => {
      checkRef(input.snapshot, 'snapshot');
      checkAccountId(input.accountId);
      return await gateway.unshareSnapshot(input, call);
    },
  };
}

function checkCreation(
  name: string | undefined,
  what: string,
  input: { readonly tags?: Tags; readonly clientToken?: string },
): void {
  if (name !== undefined) checkName(name, what);
  checkTags(input.tags);
  checkToken(input.clientToken);
}

function twoSources(): SgwError {
  return new SgwError('invalid', 'one-of', 'a volume is a clone of a snapshot or of a volume, not of both', {
    hint: 'Give just one of fromSnapshot and fromVolume.',
  });
}

function oneTarget(): SgwError {
  return new SgwError(
    'invalid',
    'import-target',
    'an import goes into a new volume or an existing one: give just one of name and into',
    {
      hint: 'Add --name NAME for a new volume, or --into VOLUME to commit what changed.',
    },
  );
}

/** With an image, a volume of that name is made where there is none. */
function checkAttached({ volume, image }: Input<'volume.attach'>): void {
  if (image === undefined) {
    checkRef(volume, 'volume');
    return;
  }
  checkName(volume, 'volume');
  checkPath(image, 'an image');
}
