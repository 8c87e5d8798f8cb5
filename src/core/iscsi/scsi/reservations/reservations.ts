/**
 * Who may use the unit: persistent reservations (SPC-4, 5.12), and RESERVE(6) of SPC-2 as CRH allows it (SPC-4, 5.12.3).
 *
 * Registrations belong to ports, not to sessions: they outlive a nexus, and end with the unit. Invariants: the holder of a
 * reservation is registered; with a type of all registrants each of them holds it; RESERVE(6) holds only while nobody is registered.
 */
import type { Nexus } from '../contract.ts';

/**
 * What another nexus's reservation leaves of a command (SPC-4, table 67; SBC-3, table 13). `free`: all, also under RESERVE(6);
 * `status`: all, but not under RESERVE(6); `read`: refused where access is exclusive; `write`: refused.
 */
export type AccessClass = 'free' | 'status' | 'read' | 'write';

/** SPC-4, 6.15.3.3 */
export const TYPE = {
  writeExclusive: 1,
  exclusiveAccess: 3,
  writeExclusiveRegistrantsOnly: 5,
  exclusiveAccessRegistrantsOnly: 6,
  writeExclusiveAllRegistrants: 7,
  exclusiveAccessAllRegistrants: 8,
} as const;

const TYPES: ReadonlySet<number> = new Set(Object.values(TYPE));
const WRITE_EXCLUSIVE: ReadonlySet<number> = new Set([1, 5, 7]);
/** Registered is enough. */
const REGISTRANTS: ReadonlySet<number> = new Set([5, 6, 7, 8]);

export const isType = (type: number): boolean => TYPES.has(type);
export const isAllRegistrants = (type: number): boolean => type >= TYPE.writeExclusiveAllRegistrants;

/** Ports of a nexus; `all` target ports with ALL_TG_PT. */
export interface Ports {
  readonly initiatorPort: string;
  readonly relativePort: number | 'all';
}

export interface Registration extends Ports {
  key: bigint;
}

export interface Reservation {
  readonly type: number;
  readonly holder: Registration;
}

export const matches = (registration: Ports, { initiatorPort, relativePort }: Nexus): boolean =>
  registration.initiatorPort === initiatorPort &&
  (registration.relativePort === 'all' || registration.relativePort === relativePort);

/** More than any cluster has. */
const REGISTRATIONS_MAX = 1024;

export class Reservations {
  #registrations: Registration[] = [];
  #reservation: Reservation | undefined;
  #reserved6: Nexus | undefined;
  /** PRGENERATION, modulo 2^32. */
  #generation = 0;

  get generation(): number {
    return this.#generation;
  }

  get registrations(): readonly Registration[] {
    return this.#registrations;
  }

  get reservation(): Reservation | undefined {
    return this.#reservation;
  }

  /** Nobody is kept from anything. */
  get isFree(): boolean {
    return this.#reservation === undefined && this.#reserved6 === undefined;
  }

  get isReserved6(): boolean {
    return this.#reserved6 !== undefined;
  }

  /** The registration of a nexus. */
  find(nexus: Nexus): Registration | undefined {
    return this.#registrations.find((one) => matches(one, nexus));
  }

  isHolder(registration: Registration): boolean {
    const reservation = this.#reservation;
    return reservation !== undefined && (isAllRegistrants(reservation.type) || reservation.holder === registration);
  }

  /** Whether a command of this class conflicts with nothing that another nexus has reserved. */
  allows(nexus: Nexus, access: AccessClass): boolean {
    if (access === 'free') return true;
    if (this.#reserved6 !== undefined) return this.#reserved6 === nexus;
    const reservation = this.#reservation;
    if (reservation === undefined || access === 'status') return true;
    if (this.#isRegistrant(nexus, reservation.type)) return true;
    return access === 'read' && WRITE_EXCLUSIVE.has(reservation.type);
  }

  /** Holds the reservation, or is registered where that is enough. */
  #isRegistrant(nexus: Nexus, type: number): boolean {
    const own = this.find(nexus);
    return own !== undefined && (REGISTRANTS.has(type) || this.isHolder(own));
  }

  /** RESERVE(6). False for a conflict. */
  reserve6(nexus: Nexus): boolean {
    if (this.#reserved6 !== undefined) return this.#reserved6 === nexus;
    if (this.#registrations.length > 0) return this.#keepsQuiet(nexus);
    this.#reserved6 = nexus;
    return true;
  }

  /** RELEASE(6). False for a conflict. Another's reservation stays, and that is no error. */
  release6(nexus: Nexus): boolean {
    if (this.#registrations.length > 0) return this.#keepsQuiet(nexus);
    if (this.#reserved6 === nexus) this.#reserved6 = undefined;
    return true;
  }

  /** CRH: nothing is done for those who have access by a persistent reservation anyway. */
  #keepsQuiet(nexus: Nexus): boolean {
    return this.#reservation !== undefined && this.#isRegistrant(nexus, this.#reservation.type);
  }

  /** The end of a nexus, or of all of them (a reset). */
  lose6(nexus?: Nexus): void {
    if (nexus === undefined || this.#reserved6 === nexus) this.#reserved6 = undefined;
  }

  hasRoomFor(count: number): boolean {
    return this.#registrations.length + count <= REGISTRATIONS_MAX;
  }

  /** Registers ports, or gives those that are registered another key. */
  register(all: readonly Ports[], key: bigint): void {
    for (const { initiatorPort, relativePort } of all) {
      const known = this.#registrations.find(
        (one) => one.initiatorPort === initiatorPort && one.relativePort === relativePort,
      );
      if (known === undefined) this.#registrations.push({ initiatorPort, relativePort, key });
      else known.key = key;
    }
    this.#advance();
  }

  changeKey(registration: Registration, key: bigint): void {
    registration.key = key;
    this.#advance();
  }

  /** Ends registrations; a reservation without a holder ends, too: its type is the answer. */
  unregister(gone: readonly Registration[]): number | undefined {
    this.#remove(gone);
    this.#advance();
    const reservation = this.#reservation;
    if (reservation === undefined) return undefined;
    const isHeld = isAllRegistrants(reservation.type)
      ? this.#registrations.length > 0
      : this.#registrations.includes(reservation.holder);
    if (isHeld) return undefined;
    this.#reservation = undefined;
    return reservation.type;
  }

  #remove(gone: readonly Registration[]): void {
    this.#registrations = this.#registrations.filter((one) => !gone.includes(one));
  }

  reserve(holder: Registration, type: number): void {
    this.#reservation = { holder, type };
  }

  release(): void {
    this.#reservation = undefined;
  }

  clear(): void {
    this.#registrations = [];
    this.#reservation = undefined;
    this.#advance();
  }

  /** Ends registrations and takes the reservation over. */
  preempt(gone: readonly Registration[], holder: Registration, type: number): void {
    this.#remove(gone);
    this.#reservation = { holder, type };
    this.#advance();
  }

  /** REGISTER AND MOVE: the reservation goes to a registration that is made, or has another key from now on. */
  move(from: Registration, to: Ports, key: bigint, isUnregistered: boolean): void {
    const type = this.#reservation?.type ?? 0;
    this.register([to], key);
    const holder = this.#registrations.find(
      (one) => one.initiatorPort === to.initiatorPort && one.relativePort === to.relativePort,
    );
    if (holder !== undefined) this.#reservation = { holder, type };
    if (isUnregistered) this.#remove([from]);
  }

  #advance(): void {
    this.#generation = (this.#generation + 1) >>> 0;
  }
}
