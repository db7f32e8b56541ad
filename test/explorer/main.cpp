#include "delivery.hpp"
#include <cstdio>
using namespace onceq::explorer;
static void show(char const*name, DeliveryOptions o){ Delivery d(o); Result r=Explorer<Delivery>(d).run(); std::printf("%-50s states=%9zu edges=%10zu %6.1f s %s\n",name,r.states,r.edges,r.seconds,r.violation.empty()?"OK":r.violation.c_str()); for(auto&s:r.steps) std::printf("      %s\n",s.c_str()); std::fflush(stdout);}
int main(int argc,char**){
 show("1 job", {});
 show("1 job no share", {.share=false});
 show("1 job no crash", {.crashes=0});
 if(argc>1){
 show("2 jobs 1 producer..", {.producers=2,.jobs=2,.claimers=2,.nack=false,.release=false,.share=false,.purge=false,.crashes=0});
 show("2 jobs 1 producer..", {.producers=2,.jobs=2,.claimers=2,.nack=false,.release=false,.share=false,.purge=false,.crashes=1});
 show("2 jobs 1 claimer batch", {.producers=2,.jobs=2,.claimers=1,.count=2,.nack=true,.release=true,.share=false,.purge=false,.crashes=1});
 }
}
