// The scripts' texts. What ends something may run in a full server (allow-oom): it frees space, or
// takes none that its claim did not have. What begins something may not.
// No script fails after its first write: Redis would keep that write. So none takes a key away that
// it writes again: while the key's slot moves, a node of a cluster refuses to make it anew.
#include "adapters/redis/scripts.h"

#include <openssl/sha.h>

#include <array>
#include <cstddef>
#include <string_view>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "once/abseil.h"

namespace once::redis {
namespace {

// A record and its claim: s state, a attempts, p fingerprint, ff first failure, nb not before;
// f fence, le lease's end, b begun, m may have run, d disposition, cp the claim's fingerprint.
// Fields that say nothing are not kept; put() names them in the order of `v`. Times are
// microseconds, exact in a double until 2255.
constexpr std::string_view kHead = R"lua(
local k=KEYS[1]
local t=redis.call('TIME')
local now=t[1]*1000000+t[2]+tonumber(ARGV[1])
local v=redis.call('HMGET',k,'s','a','p','ff','nb','f','le','b','m','d','cp')
local s,a,p,ff,nb=tonumber(v[1] or 0),tonumber(v[2] or 0),v[3] or '',v[4] or '',tonumber(v[5] or 0)
local f,le,b,m,d,cp=v[6] or '',tonumber(v[7] or 0),v[8]=='1',v[9]=='1',v[10] or '',v[11] or ''
local function put()
  local w,gone,i,said={},{},0,0
  local function text(name,value)
    i=i+1
    if value~='' then
      said=said+1
      if v[i]~=value then w[#w+1]=name w[#w+1]=value end
    elseif v[i] then
      gone[#gone+1]=name
    end
  end
  local function number(name,value) text(name,value~=0 and string.format('%.0f',value) or '') end
  number('s',s) number('a',a) text('p',p) text('ff',ff) number('nb',nb)
  text('f',f) number('le',le) text('b',b and '1' or '') text('m',m and '1' or '')
  text('d',d) text('cp',cp)
  if said==0 then redis.call('DEL',k) return end
  if #w>0 then redis.call('HSET',k,unpack(w)) end
  if #gone>0 then redis.call('HDEL',k,unpack(gone)) end
end
local function free() f='' le=0 b=false m=false d='' cp='' end
local function keep_print() if p=='' then p=cp end end
)lua";

// A claim that is over turned into what it leaves.
constexpr std::string_view kEndLapsed = R"lua(
if f~='' and le<=now then
  f='' le=0
  if d=='' then
    if b then b=false m=true s=2 a=a+1 nb=0 keep_print() end
    if not m then cp='' end
  end
end
)lua";

constexpr std::string_view kClaimHead = R"lua(
local function answer()
  if d~='' then return {9,a,ff,0,d,''} end
  return {m and 1 or 0,a+1,ff,0,'',''}
end
local function differ(x,y) return x~='' and y~='' and x~=y end
local lease=tonumber(ARGV[4])
if f~='' and f==ARGV[2] then le=now+lease put() return answer() end
)lua";
constexpr std::string_view kClaimBody = R"lua(
if differ(p,ARGV[3]) or (f~='' and differ(cp,ARGV[3])) then return {4,0,'',0,'',''} end
if f~='' then return {3,0,'',le-now,'',''} end
if s==1 then return {2,0,'',0,'',redis.call('HGET',k,'r') or ''} end
if s==3 then return {6,0,'',0,'',''} end
if s==4 then return {7,0,'',0,'',''} end
if s==5 then return {8,0,'',0,'',''} end
if s==2 and nb>now then return {5,0,'',nb-now,'',''} end
f=ARGV[2] cp=ARGV[3] le=now+lease b=false
put()
return answer()
)lua";

constexpr std::string_view kFenced = "if f=='' or f~=ARGV[2] then return -1 end\n";
constexpr std::string_view kWorking = "if d~='' then return -2 end\n";

constexpr std::string_view kBeginBody = "b=true put() return 0\n";
constexpr std::string_view kRenewBody = "le=now+tonumber(ARGV[3]) put() return 0\n";
constexpr std::string_view kCompleteBody = R"lua(
keep_print() s=1 nb=0 free() put()
if ARGV[3]~='' then redis.call('HSET',k,'r',ARGV[3]) end
if ARGV[4]~='0' then redis.call('PEXPIRE',k,ARGV[4]) end
return 0
)lua";
constexpr std::string_view kFailBody = R"lua(
keep_print() s=2
if ARGV[4]=='1' then a=a+1 if ff=='' then ff=ARGV[5] end end
nb=now+tonumber(ARGV[3])
local was_lost=m and a>0
free() m=was_lost put()
return 0
)lua";
constexpr std::string_view kDieBody = R"lua(
if d~='' then return 0 end
keep_print() s=7 nb=0 d=ARGV[3] a=tonumber(ARGV[4]) put()
return 0
)lua";
constexpr std::string_view kKillBody = R"lua(
if d=='' then return -2 end
keep_print()
if d==ARGV[3] then s=5 else s=3 end
nb=0 free() put()
return 0
)lua";
constexpr std::string_view kDiscardBody = R"lua(
keep_print() s=4 nb=0 free() put()
if ARGV[3]~='0' then redis.call('PEXPIRE',k,ARGV[3]) end
return 0
)lua";
constexpr std::string_view kReleaseBody = R"lua(
if b and d=='' then return -2 end
f='' le=0
if not m and d=='' then cp='' end
put()
return 0
)lua";

// A number that only this opening of the store writes, and only upwards: whoever finds less than
// what it knows to be there has lost it, and all that was written after it. It is then left as it
// is: should that answer be lost, the next one finds the same.
constexpr std::string_view kWitnessText = R"lua(
local known=tonumber(redis.call('GET',KEYS[1]) or 0)
if known<tonumber(ARGV[1]) then return -1 end
redis.call('SET',KEYS[1],ARGV[2],'PX',ARGV[3])
return 0
)lua";

constexpr std::string_view kOpenText = R"lua(
local id=redis.call('HGET',KEYS[1],'id')
if not id then
  if ARGV[2]=='1' then return {'','0','1'} end
  id=ARGV[1]
  redis.call('HSET',KEYS[1],'id',id,'format','1')
end
local format=redis.call('HGET',KEYS[1],'format') or '1'
if format~='1' then return {id,'0',format} end
return {id,tostring(redis.call('HINCRBY',KEYS[1],'opened',1)),format}
)lua";

constexpr std::string_view kNoteScopeText = R"lua(
if redis.call('SCARD',KEYS[1])<tonumber(ARGV[2]) then redis.call('SADD',KEYS[1],ARGV[1]) end
return 0
)lua";

constexpr std::string_view kSeen = R"lua(
local seen=s
if f~='' and d=='' then seen=6 end
)lua";
constexpr std::string_view kLookBody = R"lua(
if seen==6 then keep_print() end
return {seen,a,p,ff,string.format('%.0f',nb)}
)lua";
// What is redriven begins anew, with all attempts before it. Whoever was about to publish its
// letter has lost the claim.
constexpr std::string_view kDecideBody = R"lua(
if not string.find(ARGV[3],string.format('%d',seen),1,true) then return {0,seen} end
s=tonumber(ARGV[2])
if s==2 then a=0 ff='' end
keep_print() nb=0 free() put()
if ARGV[4]~='0' and (s==1 or s==4) then redis.call('PEXPIRE',k,ARGV[4]) end
return {1,seen}
)lua";

constexpr std::string_view kInspectText = R"lua(
local k,longest=KEYS[1],tonumber(ARGV[2])
local kind=redis.call('TYPE',k).ok
local left=tostring(redis.call('PTTL',k))
if kind=='string' then return {kind,'1',left,'',redis.call('GETRANGE',k,0,longest)} end
if kind~='hash' then return {kind,'0',left} end
local size=redis.call('HLEN',k)
local told={kind,tostring(size),left}
if size>tonumber(ARGV[1]) then return told end
local all=redis.call('HGETALL',k)
for i=1,#all,2 do
  told[#told+1]=string.sub(all[i],1,longest+1)
  told[#told+1]=all[i]=='r' and tostring(#all[i+1]) or string.sub(all[i+1],1,longest+1)
end
return told
)lua";

}  // namespace

Script MakeScript(std::string_view flags, std::initializer_list<std::string_view> parts) {
  Script script{.text = std::string(flags), .sha1 = {}};
  for (const std::string_view part : parts) script.text.append(part);
  std::array<unsigned char, SHA_DIGEST_LENGTH> digest{};
  SHA1(reinterpret_cast<const unsigned char*>(script.text.data()), script.text.size(),
       digest.data());
  script.sha1 = absl::BytesToHexString(
      absl::string_view(reinterpret_cast<const char*>(digest.data()), digest.size()));
  return script;
}

const Script& ScriptOf(ScriptName name) {
  static const auto* const scripts = new std::array<Script, kScriptNames>{
      MakeScript(kNeedsSpace, {kHead, kClaimHead, kEndLapsed, kClaimBody}),
      MakeScript(kNeedsSpace, {kHead, kFenced, kWorking, kBeginBody}),
      MakeScript(kNeedsNone, {kHead, kFenced, kRenewBody}),
      MakeScript(kNeedsNone, {kHead, kFenced, kWorking, kCompleteBody}),
      MakeScript(kNeedsNone, {kHead, kFenced, kWorking, kFailBody}),
      MakeScript(kNeedsNone, {kHead, kFenced, kDieBody}),
      MakeScript(kNeedsNone, {kHead, kFenced, kKillBody}),
      MakeScript(kNeedsNone, {kHead, kFenced, kWorking, kDiscardBody}),
      MakeScript(kNeedsNone, {kHead, kFenced, kReleaseBody}),
      MakeScript(kNeedsNone, {kWitnessText}),
      MakeScript(kNeedsNone, {kOpenText}),
      MakeScript(kNeedsSpace, {kNoteScopeText}),
      MakeScript(kWritesNothing, {kHead, kEndLapsed, kSeen, kLookBody}),
      MakeScript(kNeedsNone, {kHead, kEndLapsed, kSeen, kDecideBody}),
      MakeScript(kWritesNothing, {kInspectText}),
  };
  return (*scripts)[static_cast<std::size_t>(name)];
}

}  // namespace once::redis
