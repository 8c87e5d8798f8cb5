/** PERSISTENT RESERVE OUT (SPC-4, 5.12 and 6.16). */
import { Action, RESERVATION_CONFLICT, usageOf, type ActionOutcome, type CommandRow, type Unit } from '../command.ts';
import type { Nexus, ScsiResult } from '../contract.ts';
import { ASC, illegalRequest, invalidField, invalidParameter, type Sense } from '../sense.ts';
import { isAllRegistrants, isType, matches, TYPE, type Ports, type Registration } from './reservations.ts';
import { parseTransportId } from './transport-id.ts';

const LIST_BYTES = 24;
/** With TransportIDs. */
const LIST_BYTES_MAX = 8192;

interface Request {
  readonly unit: Unit;
  readonly nexus: Nexus;
  /** The registration of this nexus. */
  readonly own: Registration | undefined;
  readonly key: bigint;
  readonly serviceActionKey: bigint;
  readonly scope: number;
  readonly type: number;
  readonly list: Buffer;
}

type Outcome = ActionOutcome | Promise<ActionOutcome>;

/** Tells the initiators of registrations, but for the one whose command this is. */
function tell({ unit, nexus }: Request, registrations: readonly Registration[], code: number): void {
  for (const initiator of unit.initiators.values())
    if (initiator.nexus !== nexus && registrations.some((one) => matches(one, initiator.nexus)))
      initiator.attentions.establish(code);
}

/** The registration of a nexus that has given its key; most service actions conflict without. */
const proven = ({ own, key }: Request): Registration | undefined => (own?.key === key ? own : undefined);

function checkScopeAndType({ scope, type }: Request): Sense | undefined {
  if (scope !== 0) return invalidField(2, 7);
  return isType(type) ? undefined : invalidField(2, 3);
}

/** Flags of a parameter list. */
const FLAG = { specIPt: 0x08, allTgPt: 0x04, aptpl: 0x01 } as const;
const FLAGS_AT = 20;

function register(request: Request): Outcome {
  const { own, key } = request;
  if (key !== (own?.key ?? 0n)) return RESERVATION_CONFLICT;
  const namesPorts = (request.list.readUInt8(FLAGS_AT) & FLAG.specIPt) !== 0;
  if (namesPorts && own !== undefined) return illegalRequest(ASC.invalidFieldInCdb);
  return changeRegistration(request, namesPorts);
}

function registerAndIgnore(request: Request): Outcome {
  if ((request.list.readUInt8(FLAGS_AT) & FLAG.specIPt) !== 0) return invalidParameter(FLAGS_AT, 3);
  return changeRegistration(request, false);
}

function changeRegistration(request: Request, namesPorts: boolean): Outcome {
  const { unit, nexus, own, serviceActionKey, list } = request;
  const flags = list.readUInt8(FLAGS_AT);
  if ((flags & FLAG.aptpl) !== 0) return invalidParameter(FLAGS_AT, 0);
  if (serviceActionKey === 0n) {
    if (own !== undefined) unregister(request, own);
    return undefined;
  }
  if (own !== undefined) {
    unit.reservations.changeKey(own, serviceActionKey);
    return undefined;
  }
  const relativePort: Ports['relativePort'] = (flags & FLAG.allTgPt) === 0 ? nexus.relativePort : 'all';
  const others = namesPorts ? namedPorts(unit, list) : [];
  if ('key' in others) return others;
  const ports = [...new Set([nexus.initiatorPort, ...others])].map((initiatorPort) => ({
    initiatorPort,
    relativePort,
  }));
  if (!unit.reservations.hasRoomFor(ports.length)) return illegalRequest(ASC.insufficientRegistrationResources);
  unit.reservations.register(ports, serviceActionKey);
  return undefined;
}

/** SPEC_I_PT: initiator ports that are to be registered with this one. A name without port means all ports that are known. */
function namedPorts(unit: Unit, list: Buffer): string[] | Sense {
  const idsAt = LIST_BYTES + 4;
  if (list.length < idsAt || list.readUInt32BE(LIST_BYTES) !== list.length - idsAt)
    return illegalRequest(ASC.parameterListLength);
  const ports: string[] = [];
  for (let at = idsAt; at < list.length;) {
    const id = parseTransportId(list, at);
    if ('key' in id) return id;
    if (!id.isDevice) ports.push(id.name);
    else
      for (const { initiatorPort } of unit.initiators.keys())
        if (initiatorPort.startsWith(`${id.name},i,0x`)) ports.push(initiatorPort);
    at += id.bytes;
  }
  return ports;
}

function unregister(request: Request, own: Registration): void {
  const { reservations } = request.unit;
  const released = reservations.unregister([own]);
  if (released === TYPE.writeExclusiveRegistrantsOnly || released === TYPE.exclusiveAccessRegistrantsOnly)
    tell(request, reservations.registrations, ASC.reservationsReleased);
}

function reserve(request: Request): Outcome {
  const { reservations } = request.unit;
  const own = proven(request);
  if (own === undefined) return RESERVATION_CONFLICT;
  const bad = checkScopeAndType(request);
  if (bad !== undefined) return bad;
  const { reservation } = reservations;
  if (reservation === undefined) {
    reservations.reserve(own, request.type);
    return undefined;
  }
  return reservations.isHolder(own) && reservation.type === request.type ? undefined : RESERVATION_CONFLICT;
}

function release(request: Request): Outcome {
  const { reservations } = request.unit;
  const own = proven(request);
  if (own === undefined) return RESERVATION_CONFLICT;
  const { reservation } = reservations;
  if (reservation === undefined || !reservations.isHolder(own)) return undefined;
  if (request.scope !== 0 || request.type !== reservation.type) return illegalRequest(ASC.invalidRelease);
  reservations.release();
  if (reservation.type >= TYPE.writeExclusiveRegistrantsOnly)
    tell(request, reservations.registrations, ASC.reservationsReleased);
  return undefined;
}

function clear(request: Request): Outcome {
  const { reservations } = request.unit;
  if (proven(request) === undefined) return RESERVATION_CONFLICT;
  const { registrations } = reservations;
  reservations.clear();
  tell(request, registrations, ASC.reservationsPreempted);
  return undefined;
}

interface Preempted {
  /** Who is registered no more. */
  readonly gone: readonly Registration[];
}

/** Ends registrations, and takes the reservation over where its holder is meant. */
function preemptRegistrations(request: Request): Preempted | Sense | ScsiResult {
  const own = proven(request);
  if (own === undefined) return RESERVATION_CONFLICT;
  const { unit, serviceActionKey, type } = request;
  const { reservations } = unit;
  const { reservation, registrations } = reservations;
  const isShared = reservation !== undefined && isAllRegistrants(reservation.type);
  const holderKey = isShared ? 0n : reservation?.holder.key;
  if (serviceActionKey === holderKey) {
    const bad = checkScopeAndType(request);
    if (bad !== undefined) return bad;
    const gone = registrations.filter((one) => one !== own && (isShared || one.key === serviceActionKey));
    reservations.preempt(gone, own, type);
    tell(request, gone, ASC.registrationsPreempted);
    if (type !== reservation?.type) tell(request, reservations.registrations, ASC.reservationsReleased);
    return { gone };
  }
  if (serviceActionKey === 0n) return invalidParameter(8, 7);
  const gone = registrations.filter((one) => one.key === serviceActionKey);
  if (gone.length === 0) return RESERVATION_CONFLICT;
  reservations.unregister(gone);
  tell(request, gone, ASC.registrationsPreempted);
  return { gone };
}

function preempt(request: Request): Outcome {
  const outcome = preemptRegistrations(request);
  return 'gone' in outcome ? undefined : outcome;
}

/** As PREEMPT; and it ends only when no command of those who lost their registrations runs any more. */
async function preemptAndAbort(request: Request): Promise<ActionOutcome> {
  const { unit, nexus } = request;
  const outcome = preemptRegistrations(request);
  if (!('gone' in outcome)) return outcome;
  const ending: Promise<void>[] = [];
  for (const initiator of unit.initiators.values()) {
    if (initiator.nexus === nexus || !outcome.gone.some((one) => matches(one, initiator.nexus))) continue;
    const ended = unit.abortTasks(initiator.nexus);
    if (ended === undefined) continue;
    initiator.attentions.establish(ASC.commandsCleared);
    ending.push(ended);
  }
  await Promise.all(ending);
  return undefined;
}

/** Of the parameter list of REGISTER AND MOVE (6.16.4). */
const MOVE = { flagsAt: 17, unregister: 0x02, aptpl: 0x01, portAt: 18, idLengthAt: 20, idAt: 24 } as const;

function registerAndMove(request: Request): Outcome {
  const { unit, nexus, serviceActionKey, list } = request;
  const { reservations } = unit;
  const own = proven(request);
  const { reservation } = reservations;
  if (own === undefined || reservation?.holder !== own || isAllRegistrants(reservation.type))
    return RESERVATION_CONFLICT;
  if (serviceActionKey === 0n) return invalidParameter(8, 7);
  const to = movedTo(request);
  if ('key' in to) return to;
  if (to.initiatorPort === nexus.initiatorPort && to.relativePort === nexus.relativePort)
    return invalidParameter(MOVE.idAt, 7);
  if (!reservations.hasRoomFor(1)) return illegalRequest(ASC.insufficientRegistrationResources);
  reservations.move(own, to, serviceActionKey, (list.readUInt8(MOVE.flagsAt) & MOVE.unregister) !== 0);
  return undefined;
}

function movedTo({ unit, nexus, list }: Request): Ports | Sense {
  if ((list.readUInt8(MOVE.flagsAt) & MOVE.aptpl) !== 0) return invalidParameter(MOVE.flagsAt, 0);
  const relativePort = list.readUInt16BE(MOVE.portAt);
  if (!unit.portGroups(nexus).some(({ ports }) => ports.includes(relativePort)))
    return invalidParameter(MOVE.portAt, 7);
  const id = parseTransportId(list, MOVE.idAt);
  if ('key' in id) return id;
  if (id.bytes !== list.readUInt32BE(MOVE.idLengthAt)) return invalidParameter(MOVE.idLengthAt, 7);
  return id.isDevice ? invalidParameter(MOVE.idAt, 7) : { initiatorPort: id.name, relativePort };
}

function row(serviceAction: number, name: string, run: (request: Request) => Outcome, hasMore = false): CommandRow {
  return {
    name: `PERSISTENT RESERVE OUT, ${name}`,
    usage: usageOf('5f 00 ff 0000 ffffffff 00'),
    serviceAction,
    access: 'free',
    prepare: (cdb, initiator) => {
      const listBytes = cdb.readUInt32BE(5);
      const scope = (cdb[2] ?? 0) >> 4;
      const type = (cdb[2] ?? 0) & 0x0f;
      const isGood = hasMore ? listBytes >= LIST_BYTES && listBytes <= LIST_BYTES_MAX : listBytes === LIST_BYTES;
      if (!isGood) return illegalRequest(ASC.parameterListLength);
      const { unit, nexus } = initiator;
      return new Action(unit, listBytes, (list) => {
        // Whoever has it by RESERVE(6): this is refused (5.12.3).
        if (unit.reservations.isReserved6) return RESERVATION_CONFLICT;
        if (list.length < listBytes) return illegalRequest(ASC.parameterListLength);
        const key = list.readBigUInt64BE(0);
        const serviceActionKey = list.readBigUInt64BE(8);
        return run({ unit, nexus, own: unit.reservations.find(nexus), key, serviceActionKey, scope, type, list });
      });
    },
  };
}

export const RESERVE_OUT_COMMANDS: readonly CommandRow[] = [
  row(0, 'REGISTER', register, true),
  row(1, 'RESERVE', reserve),
  row(2, 'RELEASE', release),
  row(3, 'CLEAR', clear),
  row(4, 'PREEMPT', preempt),
  row(5, 'PREEMPT AND ABORT', preemptAndAbort),
  row(6, 'REGISTER AND IGNORE EXISTING KEY', registerAndIgnore),
  row(7, 'REGISTER AND MOVE', registerAndMove, true),
];
