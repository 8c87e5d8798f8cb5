/** What the login phase is given, what it asks of the sessions that there are, and what comes of it. */
import type { Random } from '../kit/index.ts';
import { DEFAULT_WISHES, type ConnectionParameters, type SessionParameters, type Wishes } from './negotiation.ts';
import type { TargetDirectory } from './targets.ts';

export interface LoginLimits {
  /** What is asked for in negotiations, and never gone beyond. */
  readonly wishes: Wishes;
  /** Login requests of one connection; more end it. */
  readonly requestsMax: number;
  /** Commands that a new session may send at once: MaxCmdSN is that of the last of them. */
  readonly commandWindow: number;
}

export const DEFAULT_LOGIN_LIMITS: LoginLimits = { wishes: DEFAULT_WISHES, requestsMax: 64, commandWindow: 128 };

export interface LoginParts {
  readonly directory: TargetDirectory;
  readonly sessions: SessionLookup;
  readonly limits: LoginLimits;
  /** Of the portal that the initiator came to. 0 to 65535. */
  readonly portalGroupTag: number;
  readonly random: Random;
}

/** A session that a connection could be added to. Read when a response is made, so it may change. */
export interface ExistingSession {
  readonly initiator: string;
  /** 12 hex digits. */
  readonly isid: string;
  /** Undefined: a discovery session. */
  readonly target: string | undefined;
  readonly portalGroupTag: number;
  /** Who CHAP proved when the session was made: nobody else adds a connection to it. */
  readonly user: string | undefined;
  readonly parameters: SessionParameters;
  readonly expCmdSn: number;
  readonly maxCmdSn: number;
  /** CIDs of its connections. */
  readonly connections: readonly number[];
}

/** What the server knows of sessions, and does about them. */
export interface SessionLookup {
  /** The session that goes by this TSIH, which is not 0. */
  find(tsih: number): ExistingSession | undefined;
  /**
   * Called once, when all is agreed, before the last response is sent: makes the session, or adds the connection to it. A new session
   * ends the one of the same initiator, ISID, target and portal group that there was (6.3.5, session reinstatement); a
   * connection with a CID that the session has ends that one (6.3.4, connection reinstatement). Resolves with the TSIH, which is
   * not 0.
   * @throws LoginRefused with the status to answer; any other SgwError is answered by its kind
   */
  admit(login: AgreedLogin): Promise<number>;
}

export interface AgreedLogin {
  readonly kind: 'normal' | 'discovery';
  /** 0: a new session; otherwise the session that the connection is added to. */
  readonly tsihAsked: number;
  /** In lower case, as names are compared. */
  readonly initiator: string;
  readonly initiatorAlias: string | undefined;
  /** 12 hex digits. */
  readonly isid: string;
  readonly cid: number;
  /** Undefined in a discovery session. In lower case. */
  readonly target: string | undefined;
  readonly portalGroupTag: number;
  /** Who CHAP proved; undefined without authentication. */
  readonly user: string | undefined;
  /** Those of the existing session where a connection is added. */
  readonly session: SessionParameters;
  readonly connection: ConnectionParameters;
  /** CmdSN of the login: that of the first command that is not immediate, in a new session. */
  readonly firstCmdSn: number;
}

export interface LoginResult extends AgreedLogin {
  readonly tsih: number;
  /** Of the next response that carries one. */
  readonly nextStatSn: number;
  /** What the last response had. */
  readonly expCmdSn: number;
  readonly maxCmdSn: number;
}

/** `response` is a whole PDU, without digests: the login phase has none. */
export type LoginStep =
  /** Send, and wait for the next login request. */
  | { readonly kind: 'more'; readonly response: Buffer }
  /** Send, then full feature phase, with digests as agreed. */
  | { readonly kind: 'done'; readonly response: Buffer; readonly result: LoginResult }
  /**
   * Send, then close. `status` is that of 11.13.5; `reason` is for the log, and has no secrets. Without a response when the
   * connection did not begin with a login request.
   */
  | {
      readonly kind: 'refused';
      readonly response: Buffer | undefined;
      readonly status: number;
      readonly reason: string;
    };
