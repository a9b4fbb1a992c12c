// The scripts' texts. Numbers are exact in a double: rows and microseconds stay below
// 2^53; sequence numbers and offsets are compared as text of twenty digits.
#include "adapters/redis/outgoing_scripts.h"

#include <string_view>

namespace once::redis {
namespace {

// In front of whatever writes several times. A command that the user has no right to would end the
// script half way, and the server keeps what was written by then; so all of them are looked at
// first.
constexpr std::string_view kRights = R"lua(
local function lacks(...)
  local words={GET={},HMGET={'f'},HGET={'f'},HSET={'f','v'},HDEL={'f'},HINCRBY={'f','1'},
    HSTRLEN={'f'},HEXISTS={'f'},SET={'v'},ZADD={'1','m'},ZREM={'m'},ZCARD={},
    ZREMRANGEBYSCORE={'0','1'}}
  for _,name in ipairs({...}) do
    if not redis.acl_check_cmd(name,KEYS[1],unpack(words[name])) then
      return redis.error_reply("NOPERM the user may not run '"..name.."'")
    end
  end
end
)lua";

// Between these two a script writes, by write() alone; what failed in there says whether anything
// was written before it.
constexpr std::string_view kWrites = R"lua(
local wrote=false
local function write(...)
  local reply=redis.call(...)
  wrote=true
  return reply
end
local ok,said=pcall(function()
)lua";
constexpr std::string_view kWritten = R"lua(
end)
if ok then return said end
local why=type(said)=='table' and said.err or tostring(said)
if not string.match(why,'^%u+ ') then why='ERR '..why end
if not wrote then return redis.error_reply(why) end
)lua";
constexpr std::string_view kHalfWritten = R"lua(
return redis.error_reply('HALFWRITTEN '..why)
)lua";

constexpr std::string_view kClock = R"lua(
local t=redis.call('TIME')
local now=t[1]*1000000+t[2]+tonumber(ARGV[1])
)lua";

// Of what an opening has appended the last decision is kept: "7:1" was applied, "7:0" never will
// be, "7:2" was applied in part.
constexpr std::string_view kDecided = R"lua(
local function decided(key)
  local said=redis.call('GET',key)
  if not said then return 0,0 end
  local number,mark=string.match(said,'^(%d+):(%d)$')
  return tonumber(number or 0),tonumber(mark or 0)
end
)lua";

constexpr std::string_view kAppendLook = R"lua(
local refused=lacks('GET','HMGET','HINCRBY','HSET','SET')
if refused then return refused end
local number=tonumber(ARGV[2])
local last=decided(KEYS[2])
if last>=number then return {2,0} end
local lost=last<tonumber(ARGV[3]) and 1 or 0
local v=redis.call('HMGET',KEYS[1],'rows','bytes')
if tonumber(v[1] or 0)>=tonumber(ARGV[5]) or tonumber(v[2] or 0)>=tonumber(ARGV[6]) then
  return {1,lost}
end
)lua";
constexpr std::string_view kAppendBody = R"lua(
local stamp=string.format('%016.0f',now)
local at=10
for lane=1,tonumber(ARGV[9]) do
  local count=tonumber(ARGV[at])
  local first=write('HINCRBY',KEYS[1+2*lane],'=n',count)-count
  for i=1,count do
    write('HSET',KEYS[2+2*lane],string.format('%.0f',first+i),stamp..ARGV[at+i])
  end
  at=at+count+1
end
write('HINCRBY',KEYS[1],'rows',ARGV[7])
write('HINCRBY',KEYS[1],'bytes',ARGV[8])
write('SET',KEYS[2],ARGV[2]..':1','PX',ARGV[4])
return {0,lost}
)lua";
constexpr std::string_view kAppendFailed = R"lua(
redis.pcall('SET',KEYS[2],ARGV[2]..':2','PX',ARGV[4])
)lua";

// Whatever is still under way with this number, or a smaller one, comes too late from now on.
constexpr std::string_view kResolveBody = R"lua(
local last,mark=decided(KEYS[1])
if last>=tonumber(ARGV[1]) then return mark end
redis.call('SET',KEYS[1],ARGV[1]..':0','PX',ARGV[2])
return 0
)lua";

// The own lease first: the key of relays is there from then on, whoever else goes.
constexpr std::string_view kHoldBody = R"lua(
local refused=lacks('ZADD','ZREMRANGEBYSCORE','ZREM','ZCARD','HMGET','HSET')
if refused then return refused end
local token,former,lease=ARGV[2],ARGV[3],tonumber(ARGV[4])
redis.call('ZADD',KEYS[1],string.format('%.0f',now+lease),token)
redis.call('ZREMRANGEBYSCORE',KEYS[1],'-inf',now)
if former~='' then redis.call('ZREM',KEYS[1],former) end
local lanes=#KEYS-1
local relays=redis.call('ZCARD',KEYS[1])
local share=math.ceil(lanes/relays)
local held,free,is_held={},{},{}
for i=0,lanes-1 do
  local lane=(tonumber(ARGV[5])+i)%lanes
  local v=redis.call('HMGET',KEYS[2+lane],'=o','=e')
  if v[1]==token then
    held[#held+1]=lane
    is_held[lane]=true
  elseif not v[1] or v[1]==former or tonumber(v[2] or 0)<=now then
    free[#free+1]=lane
  end
end
for i=6,#ARGV do
  if not is_held[tonumber(ARGV[i])] then return {1,share} end
end
for i=1,#free do
  if #held>=share then break end
  held[#held+1]=free[i]
end
local told={0,share}
for i=1,#held do
  redis.call('HSET',KEYS[2+held[i]],'=o',token,'=e',string.format('%.0f',now+lease))
  told[#told+1]=held[i]
end
return told
)lua";

constexpr std::string_view kGiveUpBody = R"lua(
local refused=lacks('HGET','HDEL','ZREM')
if refused then return refused end
for i=2,#KEYS do
  local owner=redis.call('HGET',KEYS[i],'=o')
  for token=2,#ARGV do
    if owner==ARGV[token] then redis.call('HDEL',KEYS[i],'=o','=e') end
  end
end
if ARGV[1]=='1' then redis.call('ZREM',KEYS[1],unpack(ARGV,2)) end
return 0
)lua";

constexpr std::string_view kLookText = R"lua(
local told={}
for i=1,#KEYS do
  local v=redis.call('HMGET',KEYS[i],'=o','=r','=n')
  told[#told+1]=v[1]==ARGV[1] and 1 or 0
  told[#told+1]=v[2] or ''
  told[#told+1]=tonumber(v[3] or 0)
end
return told
)lua";

constexpr std::string_view kFactsText = R"lua(
local v=redis.call('HMGET',KEYS[1],'=o','=r','=w')
local page=redis.call('HSCAN',KEYS[1],ARGV[1],'COUNT','200')
local told={v[1] or '',v[2] or '',v[3] or '',page[1]}
for i=1,#page[2],2 do
  if string.sub(page[2][i],1,1)~='=' then
    told[#told+1]=page[2][i]
    told[#told+1]=page[2][i+1]
  end
end
return told
)lua";

// Numbers are given without gaps: one that is not there is told all the same, as nothing.
constexpr std::string_view kReadBody = R"lua(
local function read(rows,after,last,rows_max,bytes_max,told,skips)
  local number,count,bytes=after,0,0
  while number<last and count<rows_max do
    number=number+1
    local name=string.format('%.0f',number)
    local row=redis.call('HGET',rows,name)
    if row or not skips then
      bytes=bytes+#(row or '')
      if count>0 and bytes>bytes_max then break end
      count=count+1
      told[#told+1]=name
      told[#told+1]=row or ''
    end
  end
end
)lua";
constexpr std::string_view kReadOnBody = R"lua(
local v=redis.call('HMGET',KEYS[1],'=o','=n')
local told={v[1]==ARGV[1] and 1 or 0}
read(KEYS[2],tonumber(ARGV[2]),tonumber(v[2] or 0),tonumber(ARGV[3]),tonumber(ARGV[4]),told,false)
return told
)lua";
constexpr std::string_view kListBody = R"lua(
local told={}
local last=tonumber(redis.call('HGET',KEYS[1],'=n') or 0)
local first=tonumber(redis.call('HGET',KEYS[1],'=f') or 1)
local after=math.max(tonumber(ARGV[1]),first-1)
read(KEYS[2],after,last,tonumber(ARGV[2]),tonumber(ARGV[3]),told,true)
return told
)lua";

constexpr std::string_view kReadRowsText = R"lua(
local told,bytes={},0
for i=2,#ARGV do
  local row=redis.call('HGET',KEYS[1],ARGV[i]) or ''
  bytes=bytes+#row
  if i>2 and bytes>tonumber(ARGV[1]) then break end
  told[#told+1]=row
end
return told
)lua";

// Everything is compared first; where each lane's part begins is noted on the way.
constexpr std::string_view kWriteLook = R"lua(
local refused=lacks('HMGET','HGET','HSTRLEN','HEXISTS','HSET','HDEL','HINCRBY')
if refused then return refused end
local token,lanes=ARGV[2],tonumber(ARGV[5])
local parts={}
local at=6
for lane=1,lanes do
  local key,rows=KEYS[3+2*lane],KEYS[4+2*lane]
  local v=redis.call('HMGET',key,'=o','=r')
  if token~='' and v[1]~=token then return -1 end
  if (v[2] or '')~=ARGV[at] then return -2 end
  if ARGV[at+2]~='0' then
    local row=redis.call('HGET',rows,ARGV[at+2])
    if not row or string.sub(row,1,16)~=ARGV[at+3] then return -3 end
  end
  parts[lane]=at
  at=at+4
  at=at+1+2*tonumber(ARGV[at])
  at=at+1+tonumber(ARGV[at])
  at=at+1+2*tonumber(ARGV[at])
end
)lua";
// With its last field a hash goes, and while its slot moves nothing can be asked of a key that is
// not there: so what is taken away is looked for first.
constexpr std::string_view kWriteLanes = R"lua(
local function forget(key,names)
  for i=1,#names,1000 do
    write('HDEL',key,unpack(names,i,math.min(i+999,#names)))
  end
end
local gone,freed,parked=0,0,0
for lane=1,lanes do
  local key,rows,p=KEYS[3+2*lane],KEYS[4+2*lane],parts[lane]
  write('HSET',key,'=r',ARGV[4],'=f',ARGV[p+1])
  if token~='' then
    write('HSET',key,'=w',ARGV[4],'=e',string.format('%.0f',now+tonumber(ARGV[3])))
  end
  p=p+4
  for i=p+1,p+2*tonumber(ARGV[p]),2 do
    local is_new=write('HSET',key,ARGV[i],ARGV[i+1])
    if string.sub(ARGV[i],1,1)=='p' then parked=parked+is_new end
  end
  p=p+1+2*tonumber(ARGV[p])
  for i=p+1,p+tonumber(ARGV[p]) do
    local was=write('HDEL',key,ARGV[i])
    if string.sub(ARGV[i],1,1)=='p' then parked=parked-was end
  end
  p=p+1+tonumber(ARGV[p])
  local names={}
  for i=p+1,p+2*tonumber(ARGV[p]),2 do
    for number=tonumber(ARGV[i]),tonumber(ARGV[i+1]) do
      local name=string.format('%.0f',number)
      local size=redis.call('HSTRLEN',rows,name)
      if size>0 then
        freed=freed+size
        names[#names+1]=name
      end
    end
  end
  forget(rows,names)
  gone=gone+#names
end
if gone>0 then write('HINCRBY',KEYS[1],'rows',-gone) end
if freed>0 then write('HINCRBY',KEYS[1],'bytes',-freed) end
if parked~=0 then write('HINCRBY',KEYS[1],'parked',parked) end
)lua";
// What two relays know of a stream becomes one.
constexpr std::string_view kWriteRest = R"lua(
for i=1,tonumber(ARGV[at]) do
  local p=at+4*i-3
  local last,first,final=ARGV[p+1],ARGV[p+2],ARGV[p+3]
  local known=redis.call('HGET',KEYS[2],ARGV[p])
  if known then
    local l,f,e=string.match(known,'^(%d+) (%d+) (%d+)$')
    local none=string.rep('0',20)
    if l and l>last then last=l end
    if f and f~=none and (first==none or f<first) then first=f end
    if e and e>final then final=e end
  end
  write('HSET',KEYS[2],ARGV[p],last..' '..first..' '..final)
end
at=at+1+4*tonumber(ARGV[at])
for i=at+1,at+2*tonumber(ARGV[at]),2 do write('HSET',KEYS[3],ARGV[i],ARGV[i+1]) end
at=at+1+2*tonumber(ARGV[at])
local declared={}
for i=at+1,at+tonumber(ARGV[at]) do
  if redis.call('HEXISTS',KEYS[3],ARGV[i])==1 then declared[#declared+1]=ARGV[i] end
end
forget(KEYS[3],declared)
at=at+1+tonumber(ARGV[at])
for i=at+1,at+tonumber(ARGV[at]) do
  write('HINCRBY',KEYS[4],'r'..ARGV[i],1)
  write('HSET',KEYS[4],'o'..ARGV[i],token)
end
at=at+1+tonumber(ARGV[at])
for i=at+1,at+tonumber(ARGV[at]) do
  local left=write('HINCRBY',KEYS[4],'r'..ARGV[i],-1)
  if left<=0 then write('HDEL',KEYS[4],'r'..ARGV[i]) end
end
return 0
)lua";

constexpr std::string_view kCountText = R"lua(
local v=redis.call('HMGET',KEYS[1],'rows','parked','bytes')
local told={tonumber(v[1] or 0),tonumber(v[2] or 0),tonumber(v[3] or 0)}
for i=2,#KEYS,2 do
  local row=redis.call('HGET',KEYS[i+1],redis.call('HGET',KEYS[i],'=f') or '1')
  told[#told+1]=row and string.sub(row,1,16) or ''
end
return told
)lua";

constexpr std::string_view kFindEpochBody = R"lua(
if tonumber(redis.call('HGET',KEYS[1],'r'..ARGV[3]) or 0)>0 then return 1 end
local placer=redis.call('HGET',KEYS[1],'o'..ARGV[3])
if not placer or placer==ARGV[2] then return 0 end
return tonumber(redis.call('ZSCORE',KEYS[2],placer) or 0)>now and 1 or 0
)lua";

constexpr std::string_view kCloseEpochText = R"lua(
for i=2,#ARGV do redis.call('HDEL',KEYS[1],ARGV[i]) end
redis.call('HDEL',KEYS[2],'r'..ARGV[1],'o'..ARGV[1])
return 0
)lua";

}  // namespace

const OutgoingScripts& ScriptsOfOutgoing() {
  static const auto* const scripts = new OutgoingScripts{
      .append = MakeScript(kNeedsSpace, {kClock, kRights, kDecided, kAppendLook, kWrites,
                                         kAppendBody, kWritten, kAppendFailed, kHalfWritten}),
      .resolve = MakeScript(kNeedsNone, {kDecided, kResolveBody}),
      .hold = MakeScript(kNeedsNone, {kClock, kRights, kHoldBody}),
      .give_up = MakeScript(kNeedsNone, {kRights, kGiveUpBody}),
      .look = MakeScript(kWritesNothing, {kLookText}),
      .facts = MakeScript(kWritesNothing, {kFactsText}),
      .read_on = MakeScript(kWritesNothing, {kReadBody, kReadOnBody}),
      .read_rows = MakeScript(kWritesNothing, {kReadRowsText}),
      .write = MakeScript(kNeedsNone, {kClock, kRights, kWriteLook, kWrites, kWriteLanes,
                                       kWriteRest, kWritten, kHalfWritten}),
      .count = MakeScript(kWritesNothing, {kCountText}),
      .find_epoch = MakeScript(kWritesNothing, {kClock, kFindEpochBody}),
      .close_epoch = MakeScript(kNeedsNone, {kCloseEpochText}),
      .list_rows = MakeScript(kWritesNothing, {kReadBody, kListBody}),
  };
  return *scripts;
}

}  // namespace once::redis
