/** Targets and sessions in memory, and an initiator that talks to a login machine. */
import { seededRandom, SgwError } from '../../../src/core/kit/index.ts';
import {
  DEFAULT_LOGIN_LIMITS,
  type AgreedLogin,
  type ExistingSession,
  type LoginLimits,
  type LoginStep,
  type SessionLookup,
} from '../../../src/core/iscsi/login-contract.ts';
import { Login } from '../../../src/core/iscsi/login.ts';
import type {
  ChapRules,
  OpenedTarget,
  TargetAccess,
  TargetDirectory,
  TargetEntry,
  TargetMoved,
} from '../../../src/core/iscsi/targets.ts';
import { loginHeader, readResponse, text, type RequestFields, type Response } from './login-builder.ts';

export const TARGET = 'iqn.2026-11.example:vol1';
export const INITIATOR = 'iqn.1993-08.org.debian:01:abc';

export class MemoryTargets implements TargetDirectory {
  readonly found = new Map<string, TargetAccess | TargetMoved | SgwError>();
  discovery: ChapRules | undefined;
  names: string[] = [TARGET];

  constructor(chap?: ChapRules, alias = '') {
    this.found.set(TARGET, { kind: 'here', name: TARGET, alias, chap });
    this.discovery = chap;
  }

  async list(): Promise<readonly TargetEntry[]> {
    return this.names.map((name) => ({ name }));
  }

  discoveryChap(): ChapRules | undefined {
    return this.discovery;
  }

  async find(target: string): Promise<TargetAccess | TargetMoved> {
    const found = this.found.get(target);
    if (found === undefined) throw new SgwError('notFound', 'target-not-found', `no target ${target}`);
    if (found instanceof SgwError) throw found;
    return found;
  }

  async open(): Promise<OpenedTarget> {
    throw new Error('a login opens nothing by itself');
  }
}

class MemorySessions implements SessionLookup {
  readonly existing = new Map<number, ExistingSession>();
  readonly admitted: AgreedLogin[] = [];
  failure: SgwError | undefined;

  find(tsih: number): ExistingSession | undefined {
    return this.existing.get(tsih);
  }

  async admit(login: AgreedLogin): Promise<number> {
    if (this.failure !== undefined) throw this.failure;
    this.admitted.push(login);
    return login.tsihAsked === 0 ? 0x1234 : login.tsihAsked;
  }
}

export interface Exchange {
  readonly step: LoginStep;
  readonly response: Response;
}

export interface SceneOptions {
  readonly chap?: ChapRules;
  readonly alias?: string;
  readonly limits?: Partial<LoginLimits>;
}

export class LoginScene {
  readonly targets: MemoryTargets;
  readonly sessions = new MemorySessions();
  readonly login: Login;

  constructor({ chap, alias, limits }: SceneOptions = {}) {
    this.targets = new MemoryTargets(chap, alias);
    this.login = new Login({
      directory: this.targets,
      sessions: this.sessions,
      limits: { ...DEFAULT_LOGIN_LIMITS, ...limits },
      portalGroupTag: 1,
      random: seededRandom(7),
    });
  }

  /** Sends one login request, and reads the response to it. */
  async send(
    flags: number,
    pairs: readonly string[] | Buffer = [],
    fields: Partial<RequestFields> = {},
  ): Promise<Exchange> {
    const data = Buffer.isBuffer(pairs) ? pairs : text(...pairs);
    const step = await this.login.handle(loginHeader({ flags, ...fields }), data);
    if (step.response === undefined) throw new Error('no response');
    return { step, response: readResponse(step.response) };
  }
}

/** Flags of login requests. */
export const SECURITY_TO_OPERATIONAL = 0x81;
export const SECURITY_TO_FULL = 0x83;
export const SECURITY = 0x00;
export const OPERATIONAL = 0x04;
export const OPERATIONAL_TO_FULL = 0x87;
export const CONTINUED = 0x40;

export const NAMES = [`InitiatorName=${INITIATOR}`, `TargetName=${TARGET}`, 'SessionType=Normal'];
