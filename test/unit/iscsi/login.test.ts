/** The login phase, request by request: stages, names, sessions, CHAP, refusals; and logins as initiators do them. */
import { describe, expect, it } from 'vitest';
import { SgwError } from '../../../src/core/kit/index.ts';
import { LoginRefused } from '../../../src/core/iscsi/login-refused.ts';
import type { ExistingSession, LoginResult, LoginStep } from '../../../src/core/iscsi/login-contract.ts';
import { SESSION_DEFAULTS } from '../../../src/core/iscsi/negotiation.ts';
import type { ChapRules } from '../../../src/core/iscsi/targets.ts';
import { chapAnswer, loginHeader, text, valueOf, type RequestFields } from './login-builder.ts';
import {
  CONTINUED,
  INITIATOR,
  LoginScene,
  NAMES,
  OPERATIONAL,
  OPERATIONAL_TO_FULL,
  SECURITY,
  SECURITY_TO_FULL,
  SECURITY_TO_OPERATIONAL,
  TARGET,
} from './login-scene.ts';

const CHAP: ChapRules = {
  initiators: [{ user: 'host', secret: Buffer.from('secret of the host') }],
  target: { user: 'gateway', secret: Buffer.from('secret of target') },
};

function resultOf(step: LoginStep): LoginResult {
  if (step.kind !== 'done') throw new Error(`the login is ${step.kind}`);
  return step.result;
}

/** Status of a refusal, or what it was instead. */
const statusOf = (step: LoginStep): string =>
  step.kind === 'refused' ? step.status.toString(16).padStart(4, '0') : step.kind;

describe('a login in one request', () => {
  it('ends in the full feature phase, with a TSIH and numbers to go on from', async () => {
    const scene = new LoginScene({ alias: 'vol1' });
    const { step, response } = await scene.send(OPERATIONAL_TO_FULL, [...NAMES, 'HeaderDigest=CRC32C,None']);
    expect(response).toMatchObject({
      transit: true,
      isContinued: false,
      csg: 1,
      nsg: 3,
      isid: '00023d000001',
      tsih: 0x1234,
      itt: 7,
      statSn: 5,
      expCmdSn: 100,
      maxCmdSn: 227,
      status: 0,
    });
    expect(response.keys).toEqual([
      'TargetAlias=vol1',
      'TargetPortalGroupTag=1',
      'HeaderDigest=CRC32C',
      'MaxRecvDataSegmentLength=262144',
    ]);
    const agreed = {
      kind: 'normal',
      tsihAsked: 0,
      initiator: INITIATOR,
      initiatorAlias: undefined,
      isid: '00023d000001',
      cid: 1,
      target: TARGET,
      portalGroupTag: 1,
      user: undefined,
      session: SESSION_DEFAULTS,
      connection: { headerDigest: true, dataDigest: false, maxSendLength: 8192, maxReceiveLength: 262144 },
      firstCmdSn: 100,
    };
    expect(resultOf(step)).toEqual({ ...agreed, tsih: 0x1234, nextStatSn: 6, expCmdSn: 100, maxCmdSn: 227 });
    expect(scene.sessions.admitted).toEqual([agreed]);
  });

  it('may go from the security stage to the end, and then nothing operational is agreed on', async () => {
    const scene = new LoginScene();
    const { step, response } = await scene.send(SECURITY_TO_FULL, [...NAMES, 'AuthMethod=None']);
    expect(response).toMatchObject({ transit: true, csg: 0, nsg: 3 });
    expect(response.keys).toEqual(['TargetPortalGroupTag=1', 'AuthMethod=None']);
    expect(resultOf(step).connection).toMatchObject({ maxSendLength: 8192, maxReceiveLength: 8192 });
  });

  it('names are compared in lower case', async () => {
    const scene = new LoginScene();
    const names = [`InitiatorName=${INITIATOR.toUpperCase()}`, `TargetName=${TARGET.toUpperCase()}`];
    const { step } = await scene.send(OPERATIONAL_TO_FULL, names);
    expect(resultOf(step)).toMatchObject({ initiator: INITIATOR, target: TARGET, kind: 'normal' });
  });

  it('numbers of commands and states wrap around', async () => {
    const scene = new LoginScene();
    const { response, step } = await scene.send(OPERATIONAL_TO_FULL, NAMES, {
      cmdSn: 0xffff_ffff,
      expStatSn: 0xffff_ffff,
    });
    expect(response).toMatchObject({ statSn: 0xffff_ffff, expCmdSn: 0xffff_ffff, maxCmdSn: 126 });
    expect(resultOf(step).nextStatSn).toBe(0);
  });
});

describe('a discovery session', () => {
  it('needs no target, and is told of none', async () => {
    const scene = new LoginScene({ alias: 'vol1' });
    const names = [`InitiatorName=${INITIATOR}`, 'SessionType=Discovery', 'InitiatorAlias=my host'];
    const { step, response } = await scene.send(OPERATIONAL_TO_FULL, [...names, 'InitialR2T=No']);
    expect(response.keys).toEqual(['InitialR2T=Irrelevant', 'MaxRecvDataSegmentLength=262144']);
    expect(resultOf(step)).toMatchObject({ kind: 'discovery', target: undefined, initiatorAlias: 'my host' });
  });

  it('has rules of its own for who may have one', async () => {
    const scene = new LoginScene();
    scene.targets.discovery = CHAP;
    const names = [`InitiatorName=${INITIATOR}`, 'SessionType=Discovery'];
    expect(statusOf((await scene.send(OPERATIONAL_TO_FULL, names)).step)).toBe('0201');
  });
});

describe('a login in several requests', () => {
  it('stays in a stage until the initiator wants to leave it', async () => {
    const scene = new LoginScene();
    const first = await scene.send(SECURITY, [...NAMES, 'AuthMethod=None']);
    expect(first.response).toMatchObject({ transit: false, csg: 0, nsg: 0, tsih: 0, statSn: 5 });
    const second = await scene.send(SECURITY_TO_OPERATIONAL);
    expect(second.response).toMatchObject({ transit: true, csg: 0, nsg: 1, tsih: 0, statSn: 6, keys: [] });
    const third = await scene.send(OPERATIONAL, ['InitialR2T=No']);
    expect(third.response).toMatchObject({ transit: false, csg: 1, statSn: 7 });
    expect(third.response.keys).toEqual(['InitialR2T=No', 'MaxRecvDataSegmentLength=262144']);
    const last = await scene.send(OPERATIONAL_TO_FULL, ['ImmediateData=Yes']);
    expect(last.response).toMatchObject({ transit: true, nsg: 3, tsih: 0x1234, keys: ['ImmediateData=Yes'] });
    expect(resultOf(last.step).session).toMatchObject({ initialR2t: false, immediateData: true });
  });

  it('takes a text that is continued, wherever it is cut', async () => {
    const whole = text(...NAMES, 'MaxBurstLength=65536');
    for (let cut = 0; cut <= whole.length; cut += 7) {
      const scene = new LoginScene();
      const first = await scene.send(OPERATIONAL | CONTINUED, whole.subarray(0, cut));
      expect(first.response).toMatchObject({ transit: false, isContinued: false, keys: [] });
      const last = await scene.send(OPERATIONAL_TO_FULL, whole.subarray(cut));
      expect(last.response.keys).toEqual([
        'TargetPortalGroupTag=1',
        'MaxBurstLength=65536',
        'MaxRecvDataSegmentLength=262144',
      ]);
    }
  });

  it('continues an answer of more than 8192 bytes, and ends the stage with its last piece', async () => {
    const scene = new LoginScene();
    const long = Array.from({ length: 200 }, (_, i) => `X-${String(i).padStart(60, '0')}=`);
    const first = await scene.send(OPERATIONAL_TO_FULL, [...NAMES, ...long]);
    expect(first.response).toMatchObject({ transit: false, isContinued: true, csg: 1 });
    const second = await scene.send(OPERATIONAL_TO_FULL);
    const whole = Buffer.concat([first.response.data, second.response.data]);
    expect(first.response.data).toHaveLength(8192);
    expect(second.response).toMatchObject({ transit: true, isContinued: false, nsg: 3 });
    expect(
      whole
        .toString()
        .split('\0')
        .filter((pair) => pair.endsWith('=NotUnderstood')),
    ).toHaveLength(200);
    expect(second.step.kind).toBe('done');
  });

  it('does not end the stage behind the last piece where that is not asked for', async () => {
    const scene = new LoginScene();
    const long = Array.from({ length: 200 }, (_, i) => `X-${String(i).padStart(60, '0')}=`);
    await scene.send(OPERATIONAL_TO_FULL, [...NAMES, ...long]);
    const second = await scene.send(OPERATIONAL);
    expect(second.response).toMatchObject({ transit: false, isContinued: false });
    expect((await scene.send(OPERATIONAL_TO_FULL)).step.kind).toBe('done');
  });

  it('is refused when an answer that is continued is answered with keys', async () => {
    const scene = new LoginScene();
    const long = Array.from({ length: 200 }, (_, i) => `X-${String(i).padStart(60, '0')}=`);
    await scene.send(OPERATIONAL_TO_FULL, [...NAMES, ...long]);
    expect(statusOf((await scene.send(OPERATIONAL, ['InitialR2T=No'])).step)).toBe('0200');
  });

  it('ends after so many requests', async () => {
    const scene = new LoginScene({ limits: { requestsMax: 3 } });
    const kinds = [statusOf((await scene.send(OPERATIONAL, NAMES)).step)];
    for (let i = 0; i < 3; i++) kinds.push(statusOf((await scene.send(OPERATIONAL)).step));
    expect(kinds).toEqual(['more', 'more', 'more', '0200']);
  });

  it('says names again, but no others', async () => {
    const scene = new LoginScene();
    await scene.send(SECURITY_TO_OPERATIONAL, [...NAMES, 'AuthMethod=None']);
    expect((await scene.send(OPERATIONAL, NAMES)).response.status).toBe(0);
    expect(statusOf((await scene.send(OPERATIONAL, ['InitiatorName=iqn.2000-01.x:else'])).step)).toBe('0200');
  });
});

describe('keys in the wrong place', () => {
  it('are rejected, and others not understood, in the security stage', async () => {
    const scene = new LoginScene();
    const { response } = await scene.send(SECURITY, [
      ...NAMES,
      'MaxBurstLength=512',
      'X-a=1',
      'AuthMethod=None',
      'SendTargets=All',
      'TargetAlias=me',
      'X-b=NotUnderstood',
    ]);
    expect(response.keys).toEqual([
      'TargetPortalGroupTag=1',
      'AuthMethod=None',
      'MaxBurstLength=Reject',
      'X-a=NotUnderstood',
      'SendTargets=Reject',
      'TargetAlias=Reject',
    ]);
  });

  it('are rejected in the operational stage', async () => {
    const scene = new LoginScene();
    const { response } = await scene.send(OPERATIONAL, [...NAMES, 'AuthMethod=CHAP', 'CHAP_A=5', 'TargetAddress=a']);
    expect(response.keys.slice(2)).toEqual(['AuthMethod=Reject', 'CHAP_A=Reject', 'TargetAddress=Reject']);
  });
});

describe('a login is refused', () => {
  const cases: readonly (readonly [string, string, number, readonly string[], Partial<RequestFields>])[] = [
    ['without InitiatorName', '0207', OPERATIONAL, [`TargetName=${TARGET}`], {}],
    ['with an empty InitiatorName', '0207', OPERATIONAL, ['InitiatorName=', `TargetName=${TARGET}`], {}],
    ['with a blank in a name', '0200', OPERATIONAL, ['InitiatorName=a b', `TargetName=${TARGET}`], {}],
    ['with a name of 224 bytes', '0200', OPERATIONAL, [`InitiatorName=${'a'.repeat(224)}`], {}],
    ['without TargetName', '0207', OPERATIONAL, [`InitiatorName=${INITIATOR}`], {}],
    ['for an unknown target', '0203', OPERATIONAL, [`InitiatorName=${INITIATOR}`, 'TargetName=iqn.x:none'], {}],
    ['for an unknown type of session', '0209', OPERATIONAL, [...NAMES.slice(0, 2), 'SessionType=Boot'], {}],
    ['of a version to come', '0205', OPERATIONAL, NAMES, { versionMin: 1 }],
    ['with a TSIH that nobody has', '020a', OPERATIONAL, NAMES, { tsih: 99 }],
    ['that begins in the full feature phase', '0200', 0x0c, NAMES, {}],
    ['that begins in no stage', '0200', 0x08, NAMES, {}],
    ['that goes to the stage where it is', '0200', 0x85, NAMES, {}],
    ['that goes back', '0200', 0x84, NAMES, {}],
    ['that goes to no stage', '0200', 0x86, NAMES, {}],
    ['that continues a text and ends the stage', '0200', 0xc7, NAMES, {}],
    ['with a key twice', '0200', OPERATIONAL, [...NAMES, 'X-a=1', 'X-a=2'], {}],
    ['with rubbish', '0200', OPERATIONAL, [...NAMES, 'rubbish'], {}],
  ];
  it.each(cases)('%s: %s', async (_, status, flags, pairs, fields) => {
    const scene = new LoginScene();
    const { step, response } = await scene.send(flags, pairs, fields);
    expect(statusOf(step)).toBe(status);
    expect(response).toMatchObject({ status: parseInt(status, 16), transit: false, itt: 7, keys: [] });
    expect(scene.sessions.admitted).toEqual([]);
  });

  it.each([
    ['ISID', { isid: '00023d000002' }],
    ['TSIH', { tsih: 1 }],
    ['CID', { cid: 2 }],
    ['task tag', { itt: 8 }],
  ])('when the %s changes', async (_, change) => {
    const scene = new LoginScene();
    await scene.send(OPERATIONAL, NAMES);
    expect(statusOf((await scene.send(OPERATIONAL, [], change)).step)).toBe('0200');
  });

  it('when a request is of another stage', async () => {
    const scene = new LoginScene();
    await scene.send(OPERATIONAL, NAMES);
    expect(statusOf((await scene.send(SECURITY)).step)).toBe('0200');
  });

  it('when something is negotiated twice', async () => {
    const scene = new LoginScene();
    await scene.send(OPERATIONAL, [...NAMES, 'InitialR2T=No']);
    expect(statusOf((await scene.send(OPERATIONAL, ['InitialR2T=Yes'])).step)).toBe('0200');
  });

  it('in a login, by another PDU: with a status; before it, without a word', async () => {
    const scene = new LoginScene();
    await scene.send(OPERATIONAL, NAMES);
    const { step, response } = await scene.send(0x80, [], { opcode: 0x40, itt: 77 });
    expect(statusOf(step)).toBe('020b');
    expect(response).toMatchObject({ itt: 77, isid: '00023d000001' });
    const none = await new LoginScene().login.handle(loginHeader({ opcode: 0x01, flags: 0x80 }), Buffer.alloc(0));
    expect(none).toMatchObject({ kind: 'refused', response: undefined, status: 0x020b });
  });

  it.each([
    ['denied', '0202'],
    ['unavailable', '0301'],
    ['timeout', '0301'],
    ['conflict', '0301'],
    ['exhausted', '0302'],
    ['internal', '0300'],
  ] as const)('when the directory says %s: %s', async (kind, status) => {
    const scene = new LoginScene();
    scene.targets.found.set(TARGET, new SgwError(kind, 'x', 'why it is so'));
    const { step } = await scene.send(OPERATIONAL_TO_FULL, NAMES);
    expect(statusOf(step)).toBe(status);
    expect(step).toMatchObject({ reason: 'why it is so' });
  });

  it('when the server does not admit it', async () => {
    const scene = new LoginScene();
    scene.sessions.failure = new LoginRefused(0x0206, 'too many connections');
    const { step, response } = await scene.send(OPERATIONAL_TO_FULL, NAMES);
    expect(statusOf(step)).toBe('0206');
    expect(response).toMatchObject({ tsih: 0, transit: false });
    const other = new LoginScene();
    other.sessions.failure = new SgwError('unavailable', 'x', 'the volume is busy');
    expect(statusOf((await other.send(OPERATIONAL_TO_FULL, NAMES)).step)).toBe('0301');
  });
});

describe('a target that has moved', () => {
  it.each([
    [false, 0x0101],
    [true, 0x0102],
  ])('sends the initiator to its portal (for good: %s)', async (isPermanent, status) => {
    const scene = new LoginScene({ chap: CHAP });
    scene.targets.found.set(TARGET, { kind: 'moved', portal: '[2001:db8::1]:3260', isPermanent });
    const { step, response } = await scene.send(SECURITY_TO_OPERATIONAL, NAMES);
    expect(response).toMatchObject({ status, keys: ['TargetAddress=[2001:db8::1]:3260'] });
    expect(step.kind).toBe('refused');
  });
});

describe('a connection for a session that there is', () => {
  const existing: ExistingSession = {
    initiator: INITIATOR,
    isid: '00023d000001',
    target: TARGET,
    portalGroupTag: 1,
    user: undefined,
    parameters: { ...SESSION_DEFAULTS, maxConnections: 2, initialR2t: false },
    expCmdSn: 700,
    maxCmdSn: 800,
    connections: [1],
  };
  const join = async (session: Partial<ExistingSession>, fields: Partial<RequestFields> = {}): Promise<LoginStep> => {
    const scene = new LoginScene();
    scene.sessions.existing.set(9, { ...existing, ...session });
    return (await scene.send(OPERATIONAL_TO_FULL, NAMES, { tsih: 9, cid: 2, ...fields })).step;
  };

  it('is added, and has what the session has agreed on', async () => {
    const step = await join({});
    expect(resultOf(step)).toMatchObject({
      tsihAsked: 9,
      tsih: 9,
      cid: 2,
      session: existing.parameters,
      expCmdSn: 700,
      maxCmdSn: 800,
    });
    expect(step.response?.readUInt32BE(28)).toBe(700);
    expect(step.response?.readUInt16BE(14)).toBe(9);
  });

  it('is not added to a session of another user', async () => {
    expect(statusOf(await join({ user: 'somebody' }))).toBe('0208');
  });

  it('takes the place of one with the same CID, even when there is room for no more', async () => {
    expect(statusOf(await join({ connections: [1, 2] }))).toBe('done');
    expect(statusOf(await join({ connections: [1, 3] }))).toBe('0206');
  });

  it.each([
    ['another initiator', { initiator: 'iqn.2000-01.x:else' }],
    ['another ISID', { isid: '00023d000002' }],
    ['another target', { target: 'iqn.x:2' }],
    ['discovery', { target: undefined }],
    ['another portal group', { portalGroupTag: 2 }],
  ])('is not added to a session of %s', async (_, session) => {
    expect(statusOf(await join(session))).toBe('020a');
  });
});

describe('CHAP', () => {
  const begin = async (): Promise<{ scene: LoginScene; keys: readonly string[] }> => {
    const scene = new LoginScene({ chap: CHAP });
    const first = await scene.send(SECURITY_TO_OPERATIONAL, [...NAMES, 'AuthMethod=CHAP,None']);
    expect(first.response).toMatchObject({ transit: false, csg: 0 });
    expect(first.response.keys).toEqual(['TargetPortalGroupTag=1', 'AuthMethod=CHAP']);
    const second = await scene.send(SECURITY, ['CHAP_A=5']);
    expect(second.response.keys.map((pair) => pair.split('=')[0])).toEqual(['CHAP_A', 'CHAP_I', 'CHAP_C']);
    return { scene, keys: second.response.keys };
  };
  const responseTo = (keys: readonly string[], secret: string): string => {
    const challenge = Buffer.from(valueOf(keys, 'CHAP_C')!.slice(2), 'hex');
    return `0x${chapAnswer('5', Number(valueOf(keys, 'CHAP_I')), secret, challenge).toString('hex')}`;
  };

  it('lets in who knows the secret, and says who that is', async () => {
    const { scene, keys } = await begin();
    const answer = ['CHAP_N=host', `CHAP_R=${responseTo(keys, 'secret of the host')}`];
    const third = await scene.send(SECURITY_TO_OPERATIONAL, answer);
    expect(third.response).toMatchObject({ transit: true, csg: 0, nsg: 1, keys: [] });
    const { step } = await scene.send(OPERATIONAL_TO_FULL);
    expect(resultOf(step)).toMatchObject({ user: 'host', initiator: INITIATOR });
  });

  it('proves the target to who asks', async () => {
    const { scene, keys } = await begin();
    const answer = ['CHAP_N=host', `CHAP_R=${responseTo(keys, 'secret of the host')}`];
    const { response } = await scene.send(SECURITY_TO_OPERATIONAL, [...answer, 'CHAP_I=3', 'CHAP_C=0x0102030405']);
    const proof = chapAnswer('5', 3, 'secret of target', Buffer.of(1, 2, 3, 4, 5)).toString('hex');
    expect(response.keys).toEqual(['CHAP_N=gateway', `CHAP_R=0x${proof}`]);
    expect(response.transit).toBe(true);
  });

  it('refuses a wrong secret and an unknown user alike, byte for byte', async () => {
    const refusals = await Promise.all(
      ['host', 'nobody'].map(async (user) => {
        const { scene, keys } = await begin();
        const answer = [`CHAP_N=${user}`, `CHAP_R=${responseTo(keys, 'another secret')}`];
        const { step } = await scene.send(SECURITY_TO_OPERATIONAL, answer);
        expect(statusOf(step)).toBe('0201');
        return { bytes: step.response?.toString('hex'), reason: step.kind === 'refused' ? step.reason : '' };
      }),
    );
    expect(refusals[0]).toEqual(refusals[1]);
    expect(refusals[0]?.reason).not.toMatch(/secret of|another secret|0x/);
  });

  it.each([
    ['skips the security stage', OPERATIONAL_TO_FULL, NAMES],
    ['offers None alone', SECURITY_TO_OPERATIONAL, [...NAMES, 'AuthMethod=None']],
    ['leaves the security stage without a method', SECURITY_TO_FULL, NAMES],
  ])('refuses an initiator that %s', async (_, flags, pairs) => {
    const scene = new LoginScene({ chap: CHAP });
    expect(statusOf((await scene.send(flags, pairs)).step)).toBe('0201');
  });

  it('is not got around by wanting the next stage before the end', async () => {
    const scene = new LoginScene({ chap: CHAP });
    await scene.send(SECURITY, [...NAMES, 'AuthMethod=CHAP']);
    const early = await scene.send(SECURITY_TO_FULL, ['CHAP_A=7']);
    expect(early.response).toMatchObject({ transit: false, csg: 0, tsih: 0 });
    const again = await scene.send(SECURITY_TO_FULL);
    expect(again.response.transit).toBe(false);
    expect(scene.sessions.admitted).toEqual([]);
  });
});
