/**
 * The login phase of one connection (RFC 7143, 6.3, 11.12, 11.13), without a socket: login requests go in, each gets one response.
 * What it is given and what comes of it is in login-contract.ts.
 *
 * States: nothing received -> security | operational -> done | refused, as the initiator's CSG and NSG say. Invariants: who the
 * initiator is and what it wants is known before any other key is looked at; nobody leaves the security stage, or skips it,
 * unproved where CHAP is asked for; nothing is kept open after `refused`.
 */
import { assert, toSgwError, type SgwError } from '../kit/index.ts';
import { Authentication, isSecurityKey } from './authentication.ts';
import type { AgreedLogin, ExistingSession, LoginParts, LoginStep } from './login-contract.ts';
import { encodeLoginResponse, readLoginRequest, type LoginRequest } from './login-pdu.ts';
import { LoginRefused, loginStatus } from './login-refused.ts';
import { isOperationalKey, Negotiation, SEGMENT_BYTES_DEFAULT } from './negotiation.ts';
import type { ChapRules, TargetAccess } from './targets.ts';
import { ANSWER, encodePairs, isAnswer, splitText, TextAssembler, TextError, type Pair } from './text.ts';
import { LOGIN_STATUS, OPCODE_MASK, plus, REQUEST, STAGE } from './wire.ts';

/** Who the initiator says it is, and what it wants. */
interface Intent {
  readonly kind: 'normal' | 'discovery';
  readonly initiator: string;
  readonly target: string | undefined;
  readonly existing: ExistingSession | undefined;
  readonly authentication: Authentication;
  readonly negotiation: Negotiation;
}

/** Declared with the first text of a login, in any stage. */
const IDENTITY_KEYS: ReadonlySet<string> = new Set(['InitiatorName', 'InitiatorAlias', 'TargetName', 'SessionType']);
/** What initiators have no business to send in a login. */
const FOREIGN_KEYS: ReadonlySet<string> = new Set([
  'TargetAlias',
  'TargetAddress',
  'TargetPortalGroupTag',
  'SendTargets',
]);
const NOTHING = Buffer.alloc(0);

export class Login {
  readonly #parts: LoginParts;
  readonly #text = new TextAssembler();
  readonly #identity = new Map<string, string>();
  #first: LoginRequest | undefined;
  #intent: Intent | undefined;
  #stage: number = STAGE.security;
  #statSn = 0;
  #requests = 0;
  /** What is not sent yet of an answer that takes several responses. */
  #pieces: Buffer[] = [];
  #isOver = false;

  constructor(parts: LoginParts) {
    this.#parts = parts;
  }

  /**
   * Handles one PDU, of which `header` has the basic header segment at least. Not to be called before it has resolved, nor after
   * it was `done` or `refused`. Keeps nothing of the buffers. Failures are `refused`, it does not throw.
   */
  async handle(header: Buffer, data: Buffer): Promise<LoginStep> {
    assert(!this.#isOver, 'a login goes on after its end');
    const isLogin = (header.readUInt8(0) & OPCODE_MASK) === REQUEST.login;
    const request = readLoginRequest(header);
    if (!isLogin && this.#first === undefined) {
      this.#isOver = true;
      const reason = 'the connection does not begin with a login request';
      return { kind: 'refused', response: undefined, status: LOGIN_STATUS.invalidDuringLogin, reason };
    }
    try {
      if (!isLogin) throw new LoginRefused(LOGIN_STATUS.invalidDuringLogin, 'something else than a login request');
      this.#requests += 1;
      if (this.#requests > this.#parts.limits.requestsMax) throw new TextError('too many login requests');
      this.#check(request);
      return await this.#advance(request, data);
    } catch (error) {
      return this.#refuse(request, toSgwError(error));
    }
  }

  /** @throws LoginRefused, TextError: the header is not what comes next */
  #check(request: LoginRequest): void {
    const first = this.#first;
    if (first === undefined) {
      this.#first = request;
      this.#statSn = request.expStatSn;
      this.#stage = request.currentStage;
      if (request.versionMin > 0)
        throw new LoginRefused(LOGIN_STATUS.unsupportedVersion, `version ${request.versionMin} at least is asked for`);
      if (request.currentStage > STAGE.operational) throw new TextError('a login begins in no stage of it');
    } else if (
      request.isid !== first.isid ||
      request.tsih !== first.tsih ||
      request.cid !== first.cid ||
      request.initiatorTaskTag !== first.initiatorTaskTag
    ) {
      throw new TextError('ISID, TSIH, CID or task tag change in a login');
    }
    if (request.currentStage !== this.#stage) throw new TextError('a login request is of another stage');
    if (!request.isTransit) return;
    if (request.isContinued) throw new TextError('a text that is continued can not end a stage');
    const { nextStage } = request;
    if (nextStage <= this.#stage || (nextStage !== STAGE.operational && nextStage !== STAGE.fullFeature))
      throw new TextError('the next stage is none');
  }

  async #advance(request: LoginRequest, data: Buffer): Promise<LoginStep> {
    if (this.#pieces.length > 0) {
      if (data.length > 0 || request.isContinued) throw new TextError('an answer that is continued is answered');
      return await this.#respond(request);
    }
    const pairs = this.#text.add(data, request.isContinued);
    if (pairs === undefined) return this.#more(request, NOTHING, false);
    this.#noteIdentity(pairs);
    const own = this.#intent === undefined ? await this.#identify(request) : [];
    this.#pieces = splitText(encodePairs([...own, ...this.#answer(pairs)]), SEGMENT_BYTES_DEFAULT);
    return await this.#respond(request);
  }

  /** Sends the next piece; with the last one, goes to the next stage if that is asked for and may be. */
  async #respond(request: LoginRequest): Promise<LoginStep> {
    const piece = this.#pieces.shift() ?? NOTHING;
    if (this.#pieces.length > 0) return this.#more(request, piece, true);
    const intent = this.#known();
    const mayLeave = this.#stage !== STAGE.security || !request.isTransit || intent.authentication.mayLeave();
    if (!request.isTransit || !mayLeave) return this.#more(request, piece, false);
    if (request.nextStage === STAGE.fullFeature) return await this.#finish(request, intent, piece);
    const response = this.#encode(request, { data: piece, isTransit: true });
    this.#stage = request.nextStage;
    return { kind: 'more', response };
  }

  #more(request: LoginRequest, data: Buffer, isContinued: boolean): LoginStep {
    return { kind: 'more', response: this.#encode(request, { data, isContinued }) };
  }

  #known(): Intent {
    assert(this.#intent !== undefined, 'a login knows what is wanted once a text is whole');
    return this.#intent;
  }

  /** Names may be said again, as some initiators do in their second stage, but not changed. @throws TextError */
  #noteIdentity(pairs: readonly Pair[]): void {
    for (const { key, value } of pairs) {
      if (!IDENTITY_KEYS.has(key)) continue;
      const before = this.#identity.get(key);
      if (this.#intent !== undefined && key !== 'InitiatorAlias' && before !== value)
        throw new TextError(`${key} comes late, or changes`);
      this.#identity.set(key, value);
    }
  }

  /**
   * Finds what the initiator wants to log in to, and how it has to prove itself. What the target says of itself.
   * @throws LoginRefused; SgwError of the directory
   */
  async #identify(request: LoginRequest): Promise<readonly Pair[]> {
    const initiator = nameOf(this.#identity, 'InitiatorName');
    const type = this.#identity.get('SessionType') ?? 'Normal';
    if (type !== 'Normal' && type !== 'Discovery')
      throw new LoginRefused(LOGIN_STATUS.sessionTypeNotSupported, 'an unknown SessionType');
    const isDiscovery = type === 'Discovery';
    const access = isDiscovery ? undefined : await this.#find(nameOf(this.#identity, 'TargetName'), initiator);
    const target = access?.name;
    const rules = access === undefined ? this.#parts.directory.discoveryChap() : access.chap;
    this.#needProof(rules);
    const existing = request.tsih === 0 ? undefined : this.#existing(request, initiator, target);
    this.#intent = {
      kind: isDiscovery ? 'discovery' : 'normal',
      initiator,
      target,
      existing,
      authentication: new Authentication(rules, this.#parts.random),
      negotiation: new Negotiation({
        wishes: this.#parts.limits.wishes,
        isDiscovery,
        existing: existing?.parameters,
      }),
    };
    if (access === undefined) return [];
    const tag = { key: 'TargetPortalGroupTag', value: String(this.#parts.portalGroupTag) };
    return access.alias === '' ? [tag] : [{ key: 'TargetAlias', value: access.alias }, tag];
  }

  async #find(target: string, initiator: string): Promise<TargetAccess> {
    const found = await this.#parts.directory.find(target, initiator);
    if (found.kind === 'here') return found;
    const status = found.isPermanent ? LOGIN_STATUS.movedPermanently : LOGIN_STATUS.movedTemporarily;
    throw new LoginRefused(status, `${target} is at ${found.portal}`, [{ key: 'TargetAddress', value: found.portal }]);
  }

  #needProof(rules: ChapRules | undefined): void {
    if (rules !== undefined && this.#stage !== STAGE.security)
      throw new LoginRefused(LOGIN_STATUS.authenticationFailed, 'the initiator skips the security stage');
  }

  /** 6.3.1: a TSIH that is not 0 names a session of this initiator port with this target. */
  #existing({ tsih, isid, cid }: LoginRequest, initiator: string, target: string | undefined): ExistingSession {
    const session = this.#parts.sessions.find(tsih);
    if (
      session?.isid !== isid ||
      session.initiator !== initiator ||
      session.target !== target ||
      session.portalGroupTag !== this.#parts.portalGroupTag
    )
      throw new LoginRefused(LOGIN_STATUS.sessionDoesNotExist, `no such session with TSIH ${tsih}`);
    const { connections, parameters } = session;
    if (!connections.includes(cid) && connections.length >= parameters.maxConnections)
      throw new LoginRefused(LOGIN_STATUS.tooManyConnections, `the session has ${connections.length} connections`);
    return session;
  }

  #answer(pairs: readonly Pair[]): readonly Pair[] {
    const { authentication, negotiation } = this.#known();
    const isSecurity = this.#stage === STAGE.security;
    const refused: Pair[] = [];
    const asked = pairs.filter(({ key, value }) => {
      if (IDENTITY_KEYS.has(key) || isAnswer(value)) return false;
      const isMisplaced = isSecurity ? isOperationalKey(key) : isSecurityKey(key);
      if (isMisplaced || FOREIGN_KEYS.has(key)) refused.push({ key, value: ANSWER.reject });
      else if (isSecurity && !isSecurityKey(key)) refused.push({ key, value: ANSWER.notUnderstood });
      else return true;
      return false;
    });
    const answers = isSecurity
      ? authentication.answer(asked)
      : [...negotiation.answer(asked), ...negotiation.declare()];
    return [...answers, ...refused];
  }

  /** The last response. The session is there when it is made. */
  async #finish(request: LoginRequest, intent: Intent, data: Buffer): Promise<LoginStep> {
    const { kind, initiator, target, existing, authentication, negotiation } = intent;
    if (existing !== undefined && existing.user !== authentication.user)
      throw new LoginRefused(LOGIN_STATUS.cannotInclude, 'the session is of another user');
    const agreed: AgreedLogin = {
      kind,
      tsihAsked: request.tsih,
      initiator,
      initiatorAlias: this.#identity.get('InitiatorAlias'),
      isid: request.isid,
      cid: request.cid,
      target,
      portalGroupTag: this.#parts.portalGroupTag,
      user: authentication.user,
      session: negotiation.session,
      connection: negotiation.connection,
      firstCmdSn: this.#begun().cmdSn,
    };
    const tsih = await this.#parts.sessions.admit(agreed);
    assert(tsih > 0 && tsih <= 0xffff, 'a session has a TSIH of 16 bits');
    const sns = this.#commandSns();
    const response = this.#encode(request, { data, isTransit: true, tsih });
    this.#isOver = true;
    return { kind: 'done', response, result: { ...agreed, tsih, nextStatSn: this.#statSn, ...sns } };
  }

  #refuse(request: LoginRequest, error: SgwError): LoginStep {
    const status = loginStatus(error);
    const data = error instanceof LoginRefused ? encodePairs(error.pairs) : NOTHING;
    this.#isOver = true;
    return { kind: 'refused', response: this.#encode(request, { data, status }), status, reason: error.message };
  }

  #begun(): LoginRequest {
    assert(this.#first !== undefined, 'a login has begun');
    return this.#first;
  }

  /** Login requests are immediate: no CmdSN is used up by them. */
  #commandSns(): { readonly expCmdSn: number; readonly maxCmdSn: number } {
    const existing = this.#intent?.existing;
    if (existing !== undefined) return { expCmdSn: existing.expCmdSn, maxCmdSn: existing.maxCmdSn };
    const { cmdSn } = this.#begun();
    return { expCmdSn: cmdSn, maxCmdSn: plus(cmdSn, this.#parts.limits.commandWindow - 1) };
  }

  #encode(
    request: LoginRequest,
    {
      data,
      status = LOGIN_STATUS.success,
      isTransit = false,
      isContinued = false,
      tsih = this.#begun().tsih,
    }: { data: Buffer; status?: number; isTransit?: boolean; isContinued?: boolean; tsih?: number },
  ): Buffer {
    const statSn = this.#statSn;
    this.#statSn = plus(statSn, 1);
    return encodeLoginResponse({
      isTransit,
      isContinued,
      currentStage: this.#stage,
      nextStage: request.nextStage,
      isid: this.#begun().isid,
      tsih,
      initiatorTaskTag: request.initiatorTaskTag,
      statSn,
      ...this.#commandSns(),
      status,
      data,
    });
  }
}

/** An iSCSI name, as it is compared (4.2.7.2): in lower case, 223 bytes at most. */
function nameOf(identity: ReadonlyMap<string, string>, key: string): string {
  const name = identity.get(key)?.toLowerCase();
  if (name === undefined || name === '') throw new LoginRefused(LOGIN_STATUS.missingParameter, `${key} is missing`);
  if (Buffer.byteLength(name) > 223 || !/^[^\s,\p{C}]+$/u.test(name)) throw new TextError(`${key} is no iSCSI name`);
  return name;
}
