/** PERSISTENT RESERVE IN (SPC-4, 6.15). */
import { Action, Reply, RESERVATION_CONFLICT, usageOf, type CommandRow, type Initiator } from '../command.ts';
import { isAllRegistrants, type Registration, type Reservations } from './reservations.ts';
import { transportId } from './transport-id.ts';

/** PRGENERATION and ADDITIONAL LENGTH, before what follows. */
function withHeader({ generation }: Reservations, body: Buffer): Buffer {
  const head = Buffer.alloc(8);
  head.writeUInt32BE(generation, 0);
  head.writeUInt32BE(body.length, 4);
  return Buffer.concat([head, body]);
}

function keyBytes(key: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(key, 0);
  return bytes;
}

const readKeys = ({ unit: { reservations } }: Initiator): Buffer =>
  withHeader(reservations, Buffer.concat(reservations.registrations.map(({ key }) => keyBytes(key))));

/** Of all registrants there is no one key. */
function readReservation({ unit: { reservations } }: Initiator): Buffer {
  const { reservation } = reservations;
  if (reservation === undefined) return withHeader(reservations, Buffer.alloc(0));
  const { type, holder } = reservation;
  const body = Buffer.alloc(16);
  body.writeBigUInt64BE(isAllRegistrants(type) ? 0n : holder.key, 0);
  body[13] = type;
  return withHeader(reservations, body);
}

/** CRH, SIP_C, ATP_C; not PTPL_C: nothing of it survives the end of the gateway. */
const CAPABILITIES = 0x1c;
/** All six types. */
const TYPE_MASK = 0xea01;

function reportCapabilities(): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeUInt16BE(bytes.length, 0);
  bytes[2] = CAPABILITIES;
  // TMV
  bytes[3] = 0x80;
  bytes.writeUInt16BE(TYPE_MASK, 4);
  return bytes;
}

function fullStatus(reservations: Reservations, registration: Registration): Buffer {
  const id = transportId(registration.initiatorPort);
  const bytes = Buffer.alloc(24);
  bytes.writeBigUInt64BE(registration.key, 0);
  const isEveryPort = registration.relativePort === 'all';
  const isHolder = reservations.isHolder(registration);
  bytes[12] = (isEveryPort ? 0x02 : 0) | (isHolder ? 0x01 : 0);
  bytes[13] = isHolder ? (reservations.reservation?.type ?? 0) : 0;
  bytes.writeUInt16BE(registration.relativePort === 'all' ? 0 : registration.relativePort, 18);
  bytes.writeUInt32BE(id.length, 20);
  return Buffer.concat([bytes, id]);
}

const readFullStatus = ({ unit: { reservations } }: Initiator): Buffer =>
  withHeader(reservations, Buffer.concat(reservations.registrations.map((one) => fullStatus(reservations, one))));

const row = (serviceAction: number, name: string, answer: (initiator: Initiator) => Buffer): CommandRow => ({
  name: `PERSISTENT RESERVE IN, ${name}`,
  usage: usageOf('5e 00 0000000000 ffff 00'),
  serviceAction,
  access: 'free',
  prepare: (cdb, initiator) => {
    // Whoever has it by RESERVE(6): this is refused (SPC-4, 5.12.3).
    if (initiator.unit.reservations.isReserved6) return new Action(initiator.unit, 0, () => RESERVATION_CONFLICT);
    return new Reply(answer(initiator), cdb.readUInt16BE(7));
  },
});

export const RESERVE_IN_COMMANDS: readonly CommandRow[] = [
  row(0, 'READ KEYS', readKeys),
  row(1, 'READ RESERVATION', readReservation),
  row(2, 'REPORT CAPABILITIES', reportCapabilities),
  row(3, 'READ FULL STATUS', readFullStatus),
];
